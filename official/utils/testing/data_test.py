import os

import pytest

from official.utils.testing import data


def test_folder_from_the_environment(tmp_path, monkeypatch):
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "dev.tsv").write_text("x")
    monkeypatch.setenv("OFFICIAL_TEST_DATA", str(tmp_path))
    assert data.real_data("glue", "dev.tsv") == str(tmp_path / "glue" / "dev.tsv")
    assert data.real_data() == str(tmp_path)


@pytest.mark.parametrize("variable", [None, ""])
def test_folder_beside_the_project_by_default(tmp_path, monkeypatch, variable):
    (tmp_path / "shared" / "data" / "mnist").mkdir(parents=True)
    monkeypatch.setattr(data, "PROJECT_ROOT", tmp_path / "main")
    if variable is None:
        monkeypatch.delenv("OFFICIAL_TEST_DATA", raising=False)
    else:
        monkeypatch.setenv("OFFICIAL_TEST_DATA", variable)
    assert data.real_data("mnist") == str(tmp_path / "shared" / "data" / "mnist")


def test_project_root_holds_the_package():
    assert os.path.isfile(data.PROJECT_ROOT / "official" / "utils" / "errors.py")


@pytest.mark.parametrize("continuous_integration", [None, "false"])
def test_missing_data_skips(tmp_path, monkeypatch, continuous_integration):
    monkeypatch.setenv("OFFICIAL_TEST_DATA", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    if continuous_integration:
        monkeypatch.setenv("CI", continuous_integration)
    with pytest.raises(pytest.skip.Exception, match=str(tmp_path / "mnist")):
        data.real_data("mnist")


def test_missing_data_fails_in_continuous_integration(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFICIAL_TEST_DATA", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=str(tmp_path / "mnist")):
        data.real_data("mnist")
