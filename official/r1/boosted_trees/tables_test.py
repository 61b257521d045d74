import gzip
import math

import numpy as np
import pytest
import tensorflow as tf

from official.r1.boosted_trees import tables
from official.utils.testing.errors import message_of


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def read(path):
    return tables.read(tables.form_of(path))


def refusal(path):
    return message_of(lambda: read(path))


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("header", ["", "a,b c,d\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_forms_of_a_table(tmp_path, delimiter, header, end, is_packed):
    text = header + "1,.5,-3e-2\n0,,NA\n\n1,nan,+7\n"
    content = text.replace(",", delimiter).replace("\n", end).encode()
    path = write(tmp_path / "t", gzip.compress(content) if is_packed else content)
    form = tables.form_of(path)
    names = ("a", "b c", "d") if header else ("column_0", "column_1", "column_2")
    assert form.names == names and form.delimiter == delimiter
    nan = math.nan
    expected = [[1, 0.5, -0.03], [0, nan, nan], [1, nan, 7]]
    found = tables.read(form)
    np.testing.assert_array_equal(found, expected)
    assert found.flags.f_contiguous and found.dtype == np.float64
    assert tables.row_line(form, 2) == 4 + bool(header)


def test_numbers_are_rounded_as_python_and_the_graph_do(tmp_path):
    random = np.random.default_rng(0)
    numbers = random.normal(size=3000) * 10.0 ** random.integers(-40, 40, 3000)
    texts = [f"{x:.{random.integers(1, 25)}g}" for x in numbers]
    texts += ["0.1", "1e-310", "123456789012345678901234567890", "8.98846567431158e307"]
    path = write(tmp_path / "t", "\n".join(texts) + "\n")
    found = read(path)[:, 0]
    expected = np.array([float(text) for text in texts])
    np.testing.assert_array_equal(found, expected)
    (graph,) = tf.io.decode_csv(texts, [tf.constant([math.nan], tf.float64)])
    np.testing.assert_array_equal(graph, expected)


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("1,2,3\n1,2\n", 2, "has 2 columns where 3 are expected"),
        ("1,2,3\n\n1,2,3,4\n", 3, "has 4 columns where 3 are expected"),
        ("a,b,c\n1,2,3\n1,x,3\n", 3, "'x' in column b is no number"),
        ("1,2,3\n1,2,1_0\n", 2, "'1_0' in column column_2 is no number"),
        ("1,2,3\n1,inf,3\n", 2, "'inf' in column column_1 is infinite"),
        ("1,2,3\n1,-1e999,3\n", 2, "'-1e999' in column column_1 is infinite"),
    ],
)
def test_lines_that_are_wrong(tmp_path, text, line, what):
    path = write(tmp_path / "t.csv", text)
    message = refusal(path)
    assert message.startswith(f"{path}: line {line}") and what in message
    assert "remove that line" in message


def test_a_wrong_line_far_down(tmp_path):
    path = write(tmp_path / "t.csv", "1,2\n" * 300_000 + "1,?\n" + "1,2\n" * 10)
    assert f"{path}: line 300001: '?' in column column_1" in refusal(path)


def test_files_that_are_no_table(tmp_path):
    for content in ("", "\n\n"):
        assert "is empty" in refusal(write(tmp_path / "e", content))
    assert "has no row" in refusal(write(tmp_path / "h", "a,b\n"))
    assert "twice" in refusal(write(tmp_path / "d", "a,b,a\n1,2,3\n"))
    assert str(tmp_path / "missing") in refusal(str(tmp_path / "missing"))
    packed = gzip.compress(b"1,2\n" * 100_000)
    path = write(tmp_path / "cut.gz", packed[: len(packed) // 2])
    assert path in refusal(path)
    assert "UTF-8" in refusal(write(tmp_path / "u", b"a,\xff\n1,2\n"))


def test_columns_by_name_and_number(tmp_path):
    form = tables.form_of(write(tmp_path / "t", "a,b\n1,2\n"))
    assert form.position("b", "--f") == 1 and form.position("0", "--f") == 0
    message = message_of(form.position, "2", "--label_column")
    assert "--label_column=2" in message and "(a, b, ...)" in message
