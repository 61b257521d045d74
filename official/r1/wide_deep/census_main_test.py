import os

import numpy as np
import pytest

from official.mnist.flags_test import FLAGS as SHARED
from official.r1.wide_deep import census_main, movielens_main
from official.utils.flags import core as flags_core
from official.utils.testing import mains
from official.utils.testing.mains import assert_one_line_error

BOTH = "dropout hidden_units input model_type output wide_l1 wide_l2 wide_learning_rate"
OWN = {
    census_main: "columns cross_buckets crosses embedding_size eval_file min_count "
    "num_buckets schema train_file",
    movielens_main: "embedding_dropout item_embedding_size min_count "
    "user_embedding_size",
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Relative paths, runs/ among them, are below the test's own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("main", OWN, ids=lambda main: main.__name__)
def test_flags_are_frozen(main):
    expected = {name: sorted(text.split()) for name, text in SHARED.items()}
    del expected["mnist"]
    expected["wide_deep"] = sorted(f"{BOTH} {OWN[main]}".split())
    assert flags_core.flags_by_set(main.define_flags()) == expected


def run(*arguments, main=census_main):
    return mains.run_main(main.define_flags, main.run, main.RECIPES, list(arguments))


@pytest.mark.parametrize(
    "arguments, fragments",
    [
        (["--model_type=tall"], ["--model_type=tall", "wide, deep, wide_deep"]),
        (["--hidden_units=8,x"], ["--hidden_units", "positive numbers"]),
        (["--hidden_units=8,0"], ["--hidden_units", "positive numbers"]),
        (["--columns=2018"], ["--columns=2018", "default, 2019"]),
        (["--dataset=adult"], ["--dataset=adult", "census_like, census, csv"]),
        (["--dataset=census"], ["--data_dir", "adult.data"]),
        (["--dataset=census", "--data_dir=."], ["--data_dir=.", "adult.data"]),
        (["--dataset=csv"], ["--dataset=csv needs --train_file"]),
        (["--crosses=age"], ["--crosses=age", "COLUMN*COLUMN"]),
        (["--crosses=age*x"], ["no column 'x'", "education"]),
        (["--batch_size=90000"], ["--batch_size=90000", "27000 examples"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_flag(arguments, fragments):
    assert_one_line_error(run(*arguments), *fragments)


CSV = (
    "--dataset=csv",
    "--train_file=train.csv",
    "--eval_file=eval.csv",
    "--schema=schema.csv",
    "--model_dir=run",
    "--train_epochs=20",
    "--epochs_between_evals=20",
    "--mode=train",
)


@pytest.fixture
def table():
    """Rows whose label is whether a word and a number agree; some cells are missing."""
    generator = np.random.default_rng(0)
    for name, rows in (("train", 1000), ("eval", 200)):
        lines = ["color,size,name,good"]
        for i in range(rows):
            color, size = generator.choice(["red", "blue", "?"]), generator.normal()
            good = int((color == "red") == (size > 0))
            cell = "" if generator.random() < 0.05 else f"{size:.3f}"
            lines.append(f"{color},{cell},row {i},{good}")
        with open(f"{name}.csv", "w") as file:
            file.write("\n".join(lines))
    with open("schema.csv", "w") as file:
        file.write("color,category\nsize,number\nname,ignore\ngood,label\n")


def test_csv_table(table):
    outcome = run(*CSV, "--crosses=color*size")
    assert outcome.exit_code == 0, outcome
    words = outcome.stdout.split()
    assert float(words[words.index("validation_accuracy") + 1]) > 0.9
    # The rows may come without the column that nothing looks at, and without labels.
    with open("rows.csv", "w") as file:
        file.write("size,color\n2.5,red\n2.5,blue\n,\n")
    outcome = run("--mode=predict", "--model_dir=run", "--input=rows.csv")
    assert outcome.exit_code == 0, outcome
    rows = outcome.stdout.split("probability of 1\n")[1].splitlines()
    assert [row.split(",")[1] for row in rows[:2]] == ["1", "0"] and len(rows) == 3
    for text, fragments in (
        ("size\n1\n", ["no column 'color'", "color, size"]),
        ("size,color\n", ["a header and no row"]),
        ("size,color\nx,red\n", ["line 2", "'x'", "column size"]),
    ):
        with open("rows.csv", "w") as file:
            file.write(text)
        arguments = ("--mode=predict", "--model_dir=run", "--input=rows.csv")
        assert_one_line_error(run(*arguments), "rows.csv", *fragments)
    assert_one_line_error(run("--mode=predict", "--model_dir=run"), "--input=FILE")


def test_wrong_csv_tables(table):
    def write(name, text):
        with open(name, "w") as file:
            file.write(text)

    header = "color,size,name,good\n"
    write("train.csv", header + "red,1,a,1\n")
    assert_one_line_error(run(*CSV), "train.csv has 1 rows, too few")
    write("train.csv", header + "red,1,a,0\n" * 30)
    assert_one_line_error(run(*CSV), "train.csv", "label 0", "rows of both")
    write("train.csv", header + "red,1,a,maybe\n")
    assert_one_line_error(run(*CSV), "train.csv: line 2", "'maybe'", "0 or 1")
    os.remove("eval.csv")
    write("train.csv", header + "red,1,a,0\nred,1,a,1\n" * 30)
    assert_one_line_error(run(*CSV), "eval.csv does not exist")


def test_checkpoint_of_other_columns_is_refused():
    brief = ("--train_steps=3", "--model_dir=run", "--mode=train")
    assert run(*brief).exit_code == 0
    outcome = run(*brief[1:], "--train_steps=4", "--columns=2019")
    assert_one_line_error(outcome, "trained with other", "name another folder")
