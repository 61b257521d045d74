import os
import pathlib
import shutil
import subprocess
import sys

import official

RIVAL = "tf-models-official"


def _site(folder: pathlib.Path) -> pathlib.Path:
    """A folder with a copy of this package's __init__ alone, as a stand-in for it."""
    package = folder / "official"
    package.mkdir(parents=True)
    shutil.copy(official.__file__, package)
    return folder


def _install_rival(folder: pathlib.Path) -> None:
    """Leaves the metadata that `pip install tf-models-official` leaves."""
    info = folder / "tf_models_official-2.19.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {RIVAL}\nVersion: 2.19.1\n"
    )


def _import_official(*path: pathlib.Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", "import official; print(official.__file__)"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        cwd=path[0].parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_alone_it_says_nothing(tmp_path):
    site = _site(tmp_path / "site")
    process = _import_official(site)
    assert process.returncode == 0
    assert process.stdout.strip() == str(site / "official" / "__init__.py")
    assert process.stderr == ""


def test_a_shared_folder_is_an_error(tmp_path):
    site = _site(tmp_path / "site")
    _install_rival(site)
    process = _import_official(site)
    assert process.returncode == 1
    error = process.stderr.splitlines()[-1]
    assert error.startswith(f"ImportError: {RIVAL} 2.19.1 and official-models share ")
    assert f"{site / 'official'} " in error
    assert "pip uninstall tf-models-official official-models" in error


def test_another_folder_is_a_warning_that_says_which_is_imported(tmp_path):
    site = _site(tmp_path / "site")
    _install_rival(tmp_path / "elsewhere")
    process = _import_official(site, tmp_path / "elsewhere")
    assert process.returncode == 0
    assert process.stdout.strip() == str(site / "official" / "__init__.py")
    # At the line that imports, which is the reader's own.
    assert process.stderr.startswith("<string>:1: UserWarning: ")
    assert f"{RIVAL} 2.19.1 is installed too" in process.stderr
    assert f"`official` is now {site / 'official'}." in process.stderr
