import numpy as np
import pytest

from official.r1.wide_deep import csv_table, tables
from official.utils.errors import UserError

KINDS = {"color": "category", "price": "number", "note": "ignore", "sold": "label"}
HEADER = "price,color,sold,note\n"


def write(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_schema(tmp_path):
    text = "column,kind\n" + "".join(f"{n}, {k}\n" for n, k in KINDS.items())
    assert csv_table.read_schema(write(tmp_path, text)) == KINDS


@pytest.mark.parametrize(
    "text, fragment",
    [
        ("a,number\n", "0 columns of the kind label"),
        ("a,number\nb,label\nc,label", "2 columns of the kind label"),
        ("a,label\n", "no column of the kind category or number"),
        ("a,float\nb,label", "line 1 has the kind 'float'.*category, number"),
        ("a,number\n\na,label", "line 3 names the column a again"),
        ("a,number,1\n", "line 1 has 3 cells"),
        ("a b,number\n", "'a b' is no name"),
        ("", "is empty"),
    ],
)
def test_wrong_schema(tmp_path, text, fragment):
    with pytest.raises(UserError, match=fragment):
        csv_table.read_schema(write(tmp_path, text))


def test_table(tmp_path):
    text = HEADER + '1.5, "dark, red" ,1,x\n,?,0,\n?,,0.0,y\nnan,blue,1,\n'
    for path in (write(tmp_path, "\ufeff" + text.replace("\n", "\r\n")),):
        table = csv_table.read(path, KINDS)
    assert table.columns["color"].tolist() == ["dark, red", "?", "", "blue"]
    np.testing.assert_array_equal(table.columns["price"], [1.5] + [np.nan] * 3)
    assert table.labels.tolist() == [1, 0, 0, 1]
    assert set(table.columns) == {"color", "price"}


@pytest.mark.parametrize(
    "text, fragment",
    [
        ("price,color,sold\n1,a,1", "lacks the column 'note'"),
        (HEADER.replace("note", "note,more"), "'more', which the schema does not know"),
        (HEADER.replace("note", "price"), "names the column 'price' twice"),
        (HEADER, "has a header and no row"),
        (HEADER + "cheap,a,1,x", "line 2 has 'cheap' in the column price"),
        (HEADER + "1,a,1,x\n-inf,a,1,x", "line 3 has '-inf' in the column price"),
        (HEADER + "1e39,a,1,x", "line 2 has '1e39' in the column price"),
        (HEADER + "1,a,2,x", "line 2 has the label '2' in the column sold.*0 or 1"),
        (HEADER + "1,a,yes,x", "label 'yes'"),
        (HEADER + "1,a,nan,x", "label 'nan'"),
        (HEADER + "1,a,,x", "label ''"),
        (HEADER + "1,a,1", "line 2 has 3 cells where 4 are expected"),
        (HEADER + "1,a,1,x,y", "line 2 has 5 cells"),
        ("", "is empty"),
        (HEADER.encode() + b"1,\xff,1,x", "line 2 is not UTF-8"),
        (HEADER + '1,"a,1,x\n1,a,1,x', "line 2"),
    ],
)
def test_wrong_table(tmp_path, text, fragment):
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=fragment) as error:
        csv_table.read(path, KINDS)
    assert path in str(error.value) and "\n" not in str(error.value)


def test_too_few_rows_and_one_label(tmp_path):
    one = csv_table.read(write(tmp_path, HEADER + "1,a,1,x"), KINDS)
    with pytest.raises(UserError, match=r"a\.csv has 1 rows, too few"):
        tables.hold_out(one, 0, "a.csv")
    many = csv_table.read(write(tmp_path, HEADER + "1,a,1,x\n" * 30), KINDS)
    with pytest.raises(UserError, match="all 30 rows have the label 1"):
        tables.hold_out(many, 0, "a.csv")
