import numpy as np
import pytest

from official.r1.boosted_trees import train_higgs
from official.r1.boosted_trees.recipes import RECIPES
from official.utils.testing import mains
from official.utils.testing.mains import assert_one_line_error


def outcome(*arguments):
    return mains.run_main(
        train_higgs.define_flags, train_higgs.run, RECIPES, list(arguments)
    )


@pytest.fixture
def table(tmp_path):
    """A good table, and a function that runs a training on it or on changed lines."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(120, 4)).round(3)
    rows[:, 0] = rows[:, 1] > 0
    lines = [",".join(f"{number:g}" for number in row) for row in rows]

    def run(*arguments, train=lines, test=lines, mode="train_and_eval"):
        for name, content in (("a.csv", train), ("b.csv", test)):
            (tmp_path / name).write_text("".join(f"{line}\n" for line in content))
        return outcome(
            *("--dataset=csv", f"--data_dir={tmp_path}", "--n_trees=3"),
            *("--train_file=a.csv", "--eval_file=b.csv", f"--mode={mode}"),
            *(f"--model_dir={tmp_path / 'run'}", "--intra_op_parallelism_threads=1"),
            *arguments,
        )

    run.lines = lines
    return run


def changed(lines, number, change):
    """Lines with one of them, counted from 1, changed."""
    return [change(line) if i == number else line for i, line in enumerate(lines, 1)]


def test_a_good_table_trains(table):
    ended = table()
    assert ended.exit_code == 0 and ended.error_lines() == [], ended


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda line: line.rpartition(",")[0], "line 7 has 3 columns where 4"),
        (lambda line: line + ",1", "line 7 has 5 columns where 4 are expected"),
        (lambda line: line[:-1] + "x", "in column column_3 is no number"),
        (lambda line: "2" + line[1:], "line 7 has the label 2 in column column_0"),
        (lambda line: line[1:], "line 7 has the label nan in column column_0"),
        (lambda line: "-inf" + line[1:], "line 7: '-inf' in column column_0 is inf"),
    ],
)
def test_a_line_that_is_wrong(table, part, change, expected):
    ended = table(**{part: changed(table.lines, 7, change)})
    name = {"train": "a.csv", "test": "b.csv"}[part]
    assert_one_line_error(ended, name, expected)


def test_missing_values_are_no_error(table):
    lines = changed(table.lines, 7, lambda line: line.rpartition(",")[0] + ",")
    lines = changed(lines, 8, lambda line: line.rpartition(",")[0] + ",nan")
    ended = table(train=lines, test=lines)
    assert ended.exit_code == 0 and ended.error_lines() == [], ended


def test_files_of_no_or_one_row(table):
    assert_one_line_error(table(train=[]), "a.csv is empty")
    assert_one_line_error(table(test=[]), "b.csv is empty")
    assert_one_line_error(table(train=table.lines[:1]), "the training rows (1) all")
    assert_one_line_error(
        table("--validation_fraction=.2", train=table.lines[:1]),
        "1 training rows cannot be divided",
    )
    ended = table(test=table.lines[:1])
    assert ended.exit_code == 0, ended
    assert "there is no AUC" in ended.stderr and "accuracy" in ended.stdout


def test_labels_of_one_kind(table):
    ones = [line for line in table.lines if line[0] == "1"]
    assert_one_line_error(table(train=ones), "all have the label 1", "with both")


def test_tables_that_do_not_fit(table):
    named = ["a,b,c,d", *table.lines]
    ended = table(train=named, test=["a,b,c,e", *table.lines])
    assert_one_line_error(ended, "b.csv has the columns 4", "both need the same")
    ended = table("--label_column=z", train=named, test=named)
    assert_one_line_error(ended, "--label_column=z", "no such column")
    assert_one_line_error(table("--label_column=4"), "--label_column=4")
    other = [line + ",1" for line in table.lines]
    ended = table("--clean", test=other)
    assert_one_line_error(ended, "has the columns 5", "4 (column_0")
    narrow = [line[0] for line in table.lines]
    assert_one_line_error(table(train=narrow), "one column")


def test_ranges(table):
    ended = table("--train_start=100", "--train_count=30")
    assert_one_line_error(ended, "--train_start=100 --train_count=30", "120 rows")
    assert_one_line_error(table("--eval_start=120"), "--eval_start=120")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--train_file=none.csv"], ["none.csv", "check the path"]),
        (["--monotone_constraints=column_1"], ["--monotone_constraints", "colon"]),
        (["--monotone_constraints=x:1"], ["there is no feature 'x'"]),
        (["--categorical_columns=9"], ["--categorical_columns", "there are 3"]),
        (["--boosting=rf"], ["--bagging_fraction"]),
        (["--machines=a"], ["--machines=a", "host:port"]),
        (["--machines=a:1"], ["is one machine"]),
        (["--machines=a:1,a:1"], ["names a machine twice"]),
        (["--machines=a:1,b:1", "--machine_index=2"], ["names 2", "from 0"]),
        (["--n_trees=0"], ["n_trees"]),
        (["--max_depth=deep"], ["max_depth"]),
    ],
)
def test_flags_that_are_wrong(table, arguments, expected):
    assert_one_line_error(table(*arguments), *expected)


def test_files_that_are_not_named(tmp_path):
    arguments = ["--dataset=csv", f"--model_dir={tmp_path / 'run'}"]
    assert_one_line_error(outcome(*arguments), "--train_file=FILE")
    named = [*arguments, f"--train_file={tmp_path / 'a.csv'}"]
    assert_one_line_error(outcome(*named), "--eval_file=FILE")
    ended = outcome("--dataset=higgs", f"--model_dir={tmp_path / 'run'}")
    assert_one_line_error(ended, "--data_dir")


@pytest.mark.parametrize("mode", ["eval", "predict", "export"])
def test_modes_without_a_model(tmp_path, mode):
    assert_one_line_error(outcome(f"--mode={mode}"), "--model_dir")
    ended = outcome(f"--mode={mode}", f"--model_dir={tmp_path / 'none'}")
    assert_one_line_error(ended, "is no folder")
    ended = outcome(f"--mode={mode}", f"--model_dir={tmp_path}")
    assert_one_line_error(ended, "train there first")


def test_other_data_for_a_trained_model(table):
    assert table().exit_code == 0
    wide = [line + ",1" for line in table.lines]
    ended = table(test=wide, mode="eval")
    assert_one_line_error(ended, "other columns (3 there, 4 here)")
    ended = table("--n_trees=4", train=wide, test=wide)
    assert_one_line_error(ended, "other columns (3 there, 4 here)")
