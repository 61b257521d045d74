import gzip
import json

import numpy as np
import pytest

from official.bert import classification_data
from official.bert.classification_data import Columns, load
from official.bert.glue_test import HEADERS
from official.utils.testing import errors
from official.utils.testing.data import real_data


def write(folder, name, lines):
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_table(folder, name, rows, header="sentence\tlabel"):
    write(folder, name, [header, *("\t".join(map(str, row)) for row in rows)])


def pairs_of(part):
    """Text and label of every row."""
    texts = zip(part.text_a, part.text_b or part.text_a, strict=True)
    return list(zip(texts, part.labels.tolist(), strict=True))


def check_division(data, num_validation, num_train):
    """Train and validation have rows of their own, in order, with their labels."""
    assert (len(data.validation), len(data.train)) == (num_validation, num_train)
    rows = pairs_of(data.train) + pairs_of(data.validation)
    assert len(set(rows)) == num_train + num_validation


def sst2(folder, num_train=100, num_test=4):
    for name, number in [("train.tsv", num_train), ("dev.tsv", num_test)]:
        write_table(folder, name, [(f"{name} {n}", n % 2) for n in range(number)])
    return str(folder)


# ---- GLUE ----


def test_one_text(tmp_path):
    data = load("SST-2", sst2(tmp_path), seed=0)
    assert data.name == "SST-2" and data.metrics == ("accuracy",) and data.notes == ()
    assert data.source == (
        f"{tmp_path}: train from train.tsv, validation from a part of train.tsv, test "
        "from dev.tsv"
    )
    assert data.label_names == ("negative", "positive")
    assert data.test.text_a == [f"dev.tsv {n}" for n in range(4)]
    assert data.test.text_b is None and data.train.text_b is None
    assert data.test.labels.dtype == data.train.labels.dtype == np.int32
    assert data.test.labels.tolist() == [0, 1, 0, 1]
    check_division(data, 5, 95)
    for part in (data.train, data.validation):
        numbers = [int(text.split()[1]) for text in part.text_a]
        assert numbers == sorted(numbers)
        assert part.labels.tolist() == [number % 2 for number in numbers]


def test_validation_follows_from_the_seed(tmp_path):
    folder = sst2(tmp_path)
    found = [load("SST-2", folder, seed).validation.text_a for seed in (0, 0, 1)]
    # Were these to change, so would every figure of a validation part.
    assert [int(text.split()[1]) for text in found[0]] == [3, 11, 13, 20, 92]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    "num_train, num_validation",
    [(2, 1), (29, 1), (31, 2), (39_000, 1950), (41_000, 2000)],
)
def test_size_of_validation(tmp_path, num_train, num_validation):
    data = load("SST-2", sst2(tmp_path, num_train), seed=3)
    check_division(data, num_validation, num_train - num_validation)


def test_pairs(tmp_path):
    rows = [
        ("x", f"a{n}", f"b{n}", ("", "not_")[n % 2] + "entailment") for n in range(40)
    ]
    for name in ("train.tsv", "dev.tsv"):
        write_table(tmp_path, name, rows, HEADERS["RTE"])
    data = load("RTE", str(tmp_path), seed=0)
    assert data.label_names == ("entailment", "not_entailment")
    check_division(data, 2, 38)
    for part in (data.train, data.validation, data.test):
        numbers = [int(text[1:]) for text in part.text_a]
        assert part.text_b == [f"b{number}" for number in numbers]
        assert part.labels.tolist() == [number % 2 for number in numbers]


def test_scores(tmp_path):
    scores = ["5.000", "0", "2.5", "3.333"]
    rows = [(*"xxxxxxx", f"a{n}", f"b{n}", score) for n, score in enumerate(scores)]
    for name in ("train.tsv", "dev.tsv"):
        write_table(tmp_path, name, rows, HEADERS["STS-B"])
    data = load("STS-B", str(tmp_path), seed=0)
    assert data.label_names == () and data.metrics == ("pearson", "spearman")
    for part in (data.train, data.validation, data.test):
        assert part.labels.dtype == np.float32
        expected = [np.float32(scores[int(text[1:])]) for text in part.text_a]
        assert part.labels.tolist() == expected
    for wrong in ("5.1", "-1", "nan", "high", "inf"):
        write_table(
            tmp_path, "dev.tsv", [(*"xxxxxxx", "a", "b", wrong)], HEADERS["STS-B"]
        )
        message = errors.message_of(load, "STS-B", str(tmp_path), 0)
        assert message.startswith(
            f"{tmp_path / 'dev.tsv'}: line 2 has the score {wrong} where a number from "
            "0 to 5 is expected; "
        )


def test_rows_passed_over_are_noted(tmp_path):
    rows = [("x", "x", "x", "Who?", "Why?", n % 2) for n in range(10)]
    header = HEADERS["QQP"]
    write_table(tmp_path, "train.tsv", [*rows, ("x", "x"), ("x",)], header)
    write_table(tmp_path, "dev.tsv", [("x", "x"), *rows], header)
    data = load("QQP", str(tmp_path), seed=0)
    assert data.notes == (
        "2 rows of train.tsv lacked fields: passed over",
        "1 row of dev.tsv lacked fields: passed over",
    )
    assert (len(data.train), len(data.validation), len(data.test)) == (9, 1, 10)
    assert data.test.labels.tolist() == [n % 2 for n in range(10)]


@pytest.mark.parametrize("label", ["2", "positive", "-1", "1.0"])
def test_wrong_label(tmp_path, label):
    folder = sst2(tmp_path)
    write_table(tmp_path, "dev.tsv", [("a", 1), ("b", label)])
    message = errors.message_of(load, "SST-2", folder, 0)
    assert message == (
        f"{tmp_path / 'dev.tsv'}: line 3 has the label {label} where one of 0, 1 is "
        "expected; correct it"
    )


def test_too_few_rows(tmp_path):
    message = errors.message_of(load, "SST-2", sst2(tmp_path, 1), 0)
    assert message.startswith(
        f"{tmp_path / 'train.tsv'} has too few rows to hold some out: 1; "
    )


def test_real_mrpc():
    data = load("MRPC", real_data("glue", "MRPC"), seed=0)
    assert data.label_names == ("not_equivalent", "equivalent")
    assert data.metrics == ("accuracy", "f1") and data.notes == ()
    sizes = [len(part) for part in (data.train, data.validation, data.test)]
    assert sizes == [3872, 204, 1725]
    assert data.test.labels.sum() == 1147
    assert data.train.labels.sum() + data.validation.labels.sum() == 2753


def test_real_sst2():
    data = load("SST-2", real_data("glue", "SST-2"), seed=0)
    sizes = [len(part) for part in (data.train, data.validation, data.test)]
    assert sizes == [65349, 2000, 872]
    assert data.test.labels.sum() == 444


# ---- Tables of the user's own ----

ROWS = [("good", "yes"), ("bad", "no"), ("fair", "perhaps")]


def test_three_files_of_three_forms(tmp_path):
    write_table(tmp_path, "train.tsv", ROWS)
    write(tmp_path, "validation.csv", ["label,sentence", 'no,"well, well"'])
    line = json.dumps({"sentence": "so so", "label": "perhaps"}) + "\n"
    (tmp_path / "test.jsonl.gz").write_bytes(gzip.compress(line.encode()))
    data = load("table", str(tmp_path), 0, Columns())
    assert data.name == "table" and data.label_names == ("no", "perhaps", "yes")
    assert data.source == (
        f"{tmp_path}: train from train.tsv, validation from validation.csv, test from "
        "test.jsonl.gz"
    )
    assert data.metrics == ("accuracy",) and data.notes == ()
    assert data.train.text_a == ["good", "bad", "fair"] and data.train.text_b is None
    assert data.train.labels.tolist() == [2, 0, 1]
    assert data.validation.text_a == ["well, well"]
    assert data.validation.labels.tolist() == [0]
    assert data.test.text_a == ["so so"] and data.test.labels.tolist() == [1]
    assert data.test.labels.dtype == np.int32


def test_names_of_columns_and_order_of_labels(tmp_path):
    rows = [(f"{n}", f"q{n}", f"a{n}") for n in (0, 1, 1, 0)]
    for name in ("train.tsv", "dev.tsv", "test.tsv"):
        write_table(tmp_path, name, rows, "right\tquestion\tanswer")
    columns = Columns("question", "answer", "right", label_names=("1", "0", "2"))
    data = load("table", str(tmp_path), 0, columns)
    assert data.label_names == ("1", "0", "2")
    assert data.train.labels.tolist() == [1, 0, 0, 1]
    assert data.train.text_a == ["q0", "q1", "q1", "q0"]
    assert data.train.text_b == ["a0", "a1", "a1", "a0"]


@pytest.mark.parametrize("name", ["dev.tsv", "validation.tsv", "test.tsv"])
def test_two_files(tmp_path, name):
    rows = [(f"{n}", n % 3) for n in range(60)]
    write_table(tmp_path, "train.tsv", rows)
    write_table(tmp_path, name, [("a", 2)])
    data = load("table", str(tmp_path), 0)
    assert data.source.endswith(
        f": train from train.tsv, validation from a part of train.tsv, test from {name}"
    )
    check_division(data, 3, 57)
    assert data.test.text_a == ["a"] and data.test.labels.tolist() == [2]


def test_one_file(tmp_path):
    write_table(tmp_path, "train.tsv", [(f"{n}", n % 2) for n in range(1000)])
    data, other = (load("table", str(tmp_path), seed) for seed in (0, 1))
    assert data.source.endswith(
        ": train from train.tsv, validation from a part of train.tsv, test from a part "
        "of train.tsv"
    )
    check_division(data, 45, 855)
    texts = data.train.text_a + data.validation.text_a + data.test.text_a
    assert len(data.test) == 100 and len(set(texts)) == 1000
    # What is reported on does not move with the seed.
    assert data.test.text_a == other.test.text_a
    assert data.validation.text_a != other.validation.text_a


def table_message(folder, columns=None):
    return errors.message_of(load, "table", str(folder), 0, columns)


def test_missing_files(tmp_path):
    assert "table needs --data_dir" in errors.message_of(load, "table", None, 0)
    assert "does not exist" in table_message(tmp_path / "missing")
    write_table(tmp_path, "dev.tsv", ROWS)
    assert "holds no train.tsv or train.csv or train.jsonl or" in table_message(
        tmp_path
    )


@pytest.mark.parametrize(
    "first, second",
    [
        ("train.tsv", "train.csv"),
        ("dev.tsv", "validation.tsv"),
        ("test.csv", "test.csv.gz"),
    ],
)
def test_two_files_of_one_part(tmp_path, first, second):
    for name in {"train.tsv", first, second}:
        write_table(tmp_path, name, ROWS)
    assert f"has both {first} and {second}, which mean the same" in table_message(
        tmp_path
    )


def test_wrong_columns(tmp_path):
    write_table(tmp_path, "train.tsv", ROWS)
    message = table_message(tmp_path, Columns("text", "second"))
    assert message == (
        f"{tmp_path / 'train.tsv'}: line 1 has no column text; it has sentence, label; "
        "name the columns with --text_a, --text_b and --label"
    )
    write_table(tmp_path, "test.tsv", [("a",)], "sentence")
    assert table_message(tmp_path) == (
        f"{tmp_path / 'test.tsv'}: line 1 has no column label; it has sentence; name "
        "the columns with --text_a, --text_b and --label, or remove the file if its "
        "rows have no labels"
    )


def test_wrong_labels(tmp_path):
    write_table(tmp_path, "train.tsv", ROWS)
    write_table(tmp_path, "dev.tsv", [*ROWS, ("a", "maybe")])
    assert table_message(tmp_path) == (
        f"{tmp_path / 'dev.tsv'}: line 5 has the label maybe where one of no, perhaps, "
        "yes is expected; correct it"
    )
    assert ": line 4 has the label perhaps where one of yes, no is" in table_message(
        tmp_path, Columns(label_names=("yes", "no"))
    )
    write_table(tmp_path, "train.tsv", [("a", "yes"), ("b", "yes")])
    assert table_message(tmp_path).startswith(
        f"{tmp_path / 'train.tsv'} has one label only, yes, where at least 2 are needed"
    )


def test_taking_rows_leaves_the_part_as_it_was():
    part = classification_data.Part(["a", "b", "c"], ["d", "e", "f"], np.arange(3))
    taken = classification_data._taken(part, np.array([0, 2]))
    assert (taken.text_a, taken.text_b) == (["a", "c"], ["d", "f"])
    assert taken.labels.tolist() == [0, 2] and part.text_a == ["a", "b", "c"]
