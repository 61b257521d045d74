import gzip

import pytest

from official.bert import glue, metrics
from official.utils.testing import errors
from official.utils.testing.data import real_data

# The first lines of the published files; CoLA's have none.
HEADERS = {
    "CoLA": None,
    "SST-2": "sentence\tlabel",
    "MRPC": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "QNLI": "index\tquestion\tsentence\tlabel",
    "QQP": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
    "RTE": "index\tsentence1\tsentence2\tlabel",
    "STS-B": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\t"
    "sentence2\tscore",
}
PARSES = "\t".join(
    f"sentence{n}_{form}" for form in ("binary_parse", "parse") for n in "12"
)
MNLI = f"index\tpromptID\tpairID\tgenre\t{PARSES}\tsentence1\tsentence2"
MNLI_TRAIN = f"{MNLI}\tlabel1\tgold_label"
MNLI_DEV = f"{MNLI}\t" + "\t".join(f"label{n}" for n in range(1, 6)) + "\tgold_label"

# Two rows a task: what is no text or label is an x.
ROWS = {
    "CoLA": ['x\t1\t\tHe said "no".', "x\t0\t*\tSaid he no."],
    "SST-2": ['a "fine" film \t1', "no fun \t0"],
    "MRPC": ['1\tx\tx\tShe left.\tShe "went.', '0\tx\tx\tIt rains.\tIt "snows".'],
    "QNLI": ["x\tWho?\tHe.\tentailment", "x\tWhy?\tNow.\tnot_entailment"],
    "QQP": ["x\tx\tx\tWho is he?\tWho's he?\t1", "x\tx\tx\tWhy?\tWhen?\t0"],
    "RTE": ["x\tIt rains.\tIt is wet.\tentailment", "x\tA.\tB.\tnot_entailment"],
    "STS-B": [
        "x\tx\tx\tx\tx\tx\tx\tA dog runs.\tA dog ran.\t4.750",
        "x\tx\tx\tx\tx\tx\tx\tA dog.\tA plane.\t0.000",
    ],
}
FILES = {"MNLI": "dev_matched.tsv", "MNLI-mm": "dev_mismatched.tsv"}


def mnli_row(texts, num_labels, label):
    return "\t".join(["x"] * 8 + texts + ["neutral"] * num_labels + [label])


def write_files(folder, task):
    """Writes both files of a task; that to report on has the first row only."""
    if task in FILES:
        texts = [["It rains.", "It is wet."], ["It snows.", "It is warm."]]
        labels = ["entailment", "contradiction"]
        train, dev = (
            [mnli_row(*row) for row in zip(texts, [num] * 2, labels, strict=True)]
            for num in (1, 5)
        )
        train, dev = [MNLI_TRAIN, *train], [MNLI_DEV, *dev]
    else:
        train = ([HEADERS[task]] if HEADERS[task] else []) + ROWS[task]
        dev = list(train)
    for name, lines in [("train.tsv", train), (FILES.get(task, "dev.tsv"), dev[:-1])]:
        (folder / name).write_text("\n".join([*lines, ""]), encoding="utf-8")


EXPECTED = {
    "CoLA": (['He said "no".', "Said he no."], None, ["1", "0"]),
    "SST-2": (['a "fine" film ', "no fun "], None, ["1", "0"]),
    "MRPC": (["She left.", "It rains."], ['She "went.', 'It "snows".'], ["1", "0"]),
    "MNLI": (
        ["It rains.", "It snows."],
        ["It is wet.", "It is warm."],
        ["entailment", "contradiction"],
    ),
    "QNLI": (["Who?", "Why?"], ["He.", "Now."], ["entailment", "not_entailment"]),
    "QQP": (["Who is he?", "Why?"], ["Who's he?", "When?"], ["1", "0"]),
    "RTE": (
        ["It rains.", "A."],
        ["It is wet.", "B."],
        ["entailment", "not_entailment"],
    ),
    "STS-B": (
        ["A dog runs.", "A dog."],
        ["A dog ran.", "A plane."],
        ["4.750", "0.000"],
    ),
}
EXPECTED["MNLI-mm"] = EXPECTED["MNLI"]


@pytest.mark.parametrize("task", glue.TASKS)
def test_files_as_they_are_published(tmp_path, task):
    write_files(tmp_path, task)
    text_a, text_b, labels = EXPECTED[task]
    texts = [text_a] if text_b is None else [text_a, text_b]
    train, test = glue.read(task, str(tmp_path))
    assert train.path == str(tmp_path / "train.tsv")
    assert test.path == str(tmp_path / FILES.get(task, "dev.tsv"))
    assert list(train.texts) == texts and train.labels == labels
    assert list(test.texts) == [column[:1] for column in texts]
    assert test.labels == labels[:1]
    known = glue.TASKS[task].labels
    assert known is None or set(labels) <= set(known)


def test_all_tasks_are_read_and_measured():
    assert EXPECTED.keys() == glue.TASKS.keys()
    for task in glue.TASKS.values():
        assert set(task.metrics) <= set(metrics.METRICS)
    # As the results of GLUE are reported.
    chosen = {name: task.metrics[0] for name, task in glue.TASKS.items()}
    assert chosen.pop("CoLA") == "matthews" and chosen.pop("STS-B") == "pearson"
    assert set(chosen.values()) == {"accuracy"}


def test_gzipped_files(tmp_path):
    write_files(tmp_path, "SST-2")
    for path in list(tmp_path.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    train, test = glue.read("SST-2", str(tmp_path))
    assert train.labels == ["1", "0"] and test.path.endswith("dev.tsv.gz")


# ---- MRPC as Microsoft published it ----


def test_mrpc_of_microsoft(tmp_path):
    lines = ["\ufeff" + HEADERS["MRPC"], *ROWS["MRPC"], ""]
    for name, rows in [("train", lines), ("test", [*lines[:2], ""])]:
        path = tmp_path / f"msr_paraphrase_{name}.txt"
        path.write_bytes("\r\n".join(rows).encode())
    train, test = glue.read("MRPC", str(tmp_path))
    assert list(train.texts) == list(EXPECTED["MRPC"][:2])
    assert train.labels == ["1", "0"] and train.lines == [2, 3]
    assert test.labels == ["1"] and test.path.endswith("msr_paraphrase_test.txt")
    # What GLUE's own script leaves has both; its development set is compared elsewhere.
    write_files(tmp_path, "MRPC")
    train, test = glue.read("MRPC", str(tmp_path))
    assert train.path.endswith("train.tsv") and test.path.endswith("dev.tsv")


def test_real_mrpc():
    train, test = glue.read("MRPC", real_data("glue", "MRPC"))
    assert (len(train), len(test)) == (4076, 1725)
    assert [train.labels.count(label) for label in "01"] == [1323, 2753]
    assert [test.labels.count(label) for label in "01"] == [578, 1147]
    assert train.texts[0][0].startswith(
        'Amrozi accused his brother, whom he called "the'
    )
    # Microsoft's quotes stay, though they are not closed in every text.
    texts = train.texts[0] + train.texts[1]
    assert sum(text.startswith('"') for text in texts) > 100
    assert sum(text.count('"') % 2 for text in texts) > 100
    assert not any(text.endswith("\r") for text in texts)


def test_real_sst2():
    train, test = glue.read("SST-2", real_data("glue", "SST-2"))
    assert (len(train), len(test)) == (67349, 872)
    assert test.texts[0][0] == "it 's a charming and often affecting journey . "
    assert test.lines[0] == 2 and test.lines[-1] == 873
    assert test.labels.count("1") == 444


# ---- Rows that are not complete ----


def test_rows_of_qqp_without_all_fields(tmp_path):
    write_files(tmp_path, "QQP")
    with (tmp_path / "train.tsv").open("a") as file:
        # A question with a line end in it, and one that is empty.
        file.write("x\tx\tx\tWho\nis he?\tWho's he?\t1\nx\tx\tx\t\tWhy?\t0\n")
    train, test = glue.read("QQP", str(tmp_path))
    assert train.labels == ["1", "0"] and train.num_skipped == 3
    assert test.num_skipped == 0


@pytest.mark.parametrize("task", [task for task in glue.TASKS if task != "QQP"])
def test_incomplete_row(tmp_path, task):
    write_files(tmp_path, task)
    name = FILES.get(task, "dev.tsv")
    lines = (tmp_path / name).read_text(encoding="utf-8").splitlines()
    with (tmp_path / name).open("a") as file:
        file.write(lines[-1].rpartition("\t")[0] + "\n")
    message = errors.message_of(glue.read, task, str(tmp_path))
    expected = f"{tmp_path / name}: line {len(lines) + 1} has too few fields; "
    assert message.startswith(expected)


def test_files_that_are_not_there(tmp_path):
    message = errors.message_of(glue.read, "MRPC", None)
    assert "MRPC needs --data_dir" in message
    message = errors.message_of(glue.read, "MRPC", str(tmp_path))
    assert "train.tsv or train.tsv.gz or msr_paraphrase_train.txt" in message
    write_files(tmp_path, "MNLI")
    message = errors.message_of(glue.read, "MNLI-mm", str(tmp_path))
    assert "holds no dev_mismatched.tsv or dev_mismatched.tsv.gz" in message


def test_file_of_another_task(tmp_path):
    write_files(tmp_path, "SST-2")
    message = errors.message_of(glue.read, "RTE", str(tmp_path))
    assert message.startswith(
        f"{tmp_path / 'train.tsv'}: line 1 has no column sentence1; it has sentence, "
        "label; check that it is the file of GLUE's RTE"
    )
