import pytest

from official.r1.wide_deep import census
from official.utils.errors import UserError
from official.utils.testing.data import real_data

ROW = (
    "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, "
    "White, Male, 2174, 0, 40, United-States, <=50K"
)
MISSING = (
    "52, ?, 209642, HS-grad, 9, Married-civ-spouse, ?, Husband, White, Male, 0, 0, 45, "
    "United-States, >50K."
)


def test_lines_as_they_are(tmp_path):
    path = tmp_path / "adult.test"
    path.write_text(f"|1x3 Cross validator\n{ROW}\n{MISSING}\n\n")
    table = census.read(str(path))
    assert table.labels.tolist() == [0, 1]
    columns = {name: values.tolist() for name, values in table.columns.items()}
    assert columns == {
        "education": ["Bachelors", "HS-grad"],
        "marital_status": ["Never-married", "Married-civ-spouse"],
        "relationship": ["Not-in-family", "Husband"],
        "workclass": ["State-gov", "?"],
        "occupation": ["Adm-clerical", "?"],
        "age": [39, 52],
        "education_num": [13, 9],
        "capital_gain": [2174, 0],
        "capital_loss": [0, 0],
        "hours_per_week": [40, 45],
    }


@pytest.mark.parametrize(
    "text, fragment",
    [
        (f"{ROW}\n{ROW[:-7]}", "line 2 has 14 cells where 15 are expected"),
        (f"{ROW}, 1", "line 1 has 16 cells"),
        (ROW.replace("39", "old"), "line 1 has 'old' in the column age"),
        (f"{ROW}\n\n{ROW.replace('2174', 'inf')}", "line 3 has 'inf' in the column"),
        (ROW.replace("<=50K", "50K"), "line 1 has the label '50K'"),
        ("|a comment", "holds comments and no record"),
        ("\n \n", "has no row"),
        ("", "is empty"),
        ('"' + ROW, "line 1"),
    ],
)
def test_wrong_files(tmp_path, text, fragment):
    path = tmp_path / "adult.data"
    path.write_text(text)
    with pytest.raises(UserError, match=fragment) as error:
        census.read(str(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_missing_folder(tmp_path):
    with pytest.raises(UserError, match="--data_dir"):
        census.load(None, may_download=False)
    with pytest.raises(UserError, match=r"adult\.data"):
        census.load(str(tmp_path), may_download=False)


def test_real_files_and_their_checksums():
    from official.utils.data import files

    folder = real_data("adult")
    train, test = census.load(str(folder), may_download=False)
    assert len(train) == 32561 and len(test) == 16281
    assert train.labels.sum() == 7841 and test.labels.sum() == 3846
    assert (train.columns["occupation"] == "?").sum() == 1843
    for remote in census.REMOTE_FILES:
        files.verify(f"{folder}/{remote.name}", remote.sha256)
