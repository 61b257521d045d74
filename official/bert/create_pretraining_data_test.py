import gzip
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from official.bert import create_pretraining_data, record_making, vocabulary
from official.utils.data import record_files
from official.utils.testing import mains
from official.utils.testing.data import PROJECT_ROOT

WORDS = [f"word{number}" for number in range(500)]


@pytest.fixture
def folder(tmp_path):
    vocabulary.write(str(tmp_path / "vocab.txt"), [*vocabulary.SPECIAL, *WORDS])
    (tmp_path / "a.txt").write_text(text(40, seed=0))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text(20, seed=1).encode()))
    return tmp_path


def text(documents, seed):
    generator = np.random.default_rng(seed)
    lines = []
    for _ in range(documents):
        for _ in range(10):
            lines.append(" ".join(generator.choice(WORDS, generator.integers(1, 20))))
        lines.append("")
    return "\n".join(lines)


def run(folder, *arguments, output="out"):
    defaults = (
        f"--input_file={folder}/a.txt,{folder}/b.txt*",
        f"--output_file={folder}/{output}",
        f"--vocab_file={folder}/vocab.txt",
        "--max_seq_length=64",
        "--max_predictions_per_seq=10",
        "--dupe_factor=2",
    )
    return mains.run_main(
        create_pretraining_data.define_flags,
        create_pretraining_data.run,
        (),
        (*defaults, *arguments),
    )


def error(folder, *arguments):
    outcome = run(folder, *arguments)
    assert outcome.exit_code == 1
    assert not list(folder.glob("out*"))
    (line,) = outcome.error_lines()
    return line.removeprefix("error: ")


def records(path, compression=""):
    return [each.numpy() for each in tf.data.TFRecordDataset(str(path), compression)]


def test_flags():
    assert sorted(create_pretraining_data.define_flags()) == [
        "do_whole_word_mask",
        "dupe_factor",
        "gzip_compress",
        "input_file",
        "lower_case",
        "masked_lm_prob",
        "max_predictions_per_seq",
        "max_seq_length",
        "num_processes",
        "output_file",
        "random_seed",
        "short_seq_prob",
        "use_next_sentence",
        "vocab_file",
    ]


def test_text_to_records(folder):
    outcome = run(folder)
    assert outcome.exit_code == 0, outcome.stderr
    found = record_files.open_files(str(folder / "out"))
    assert outcome.stdout.splitlines()[-1] == (
        f"{found.num_records} sequences of 60 documents, read 2 times, in {folder}/out"
    )
    # About 6,000 words, read twice, half of them twice in a sequence, of 61 in each.
    assert 200 < found.num_records < 500
    example = tf.train.Example.FromString(records(folder / "out")[0])
    lengths = {
        name: len(feature.int64_list.value or feature.float_list.value)
        for name, feature in example.features.feature.items()
    }
    assert lengths == {
        "input_ids": 64,
        "input_mask": 64,
        "segment_ids": 64,
        "masked_lm_positions": 10,
        "masked_lm_ids": 10,
        "masked_lm_weights": 10,
        "next_sentence_labels": 1,
    }
    # The same again, in two files.
    outcome = run(folder, "--gzip_compress", output=f"x,{folder}/y")
    assert outcome.exit_code == 0, outcome.stderr
    first, second = (records(folder / name, "GZIP") for name in "xy")
    assert records(folder / "out")[::2] == first
    assert records(folder / "out")[1::2] == second
    run(folder, "--random_seed=1", output="z")
    assert not set(records(folder / "z")) & set(first)


def test_other_numbers_of_processes(folder, monkeypatch):
    # Seven or so a pass.
    monkeypatch.setattr(record_making, "WINDOW_CHARACTERS", 10_000)
    outcome = run(folder)
    assert outcome.exit_code == 0, outcome.stderr
    outcome = run(folder, "--num_processes=2", output="other")
    assert outcome.exit_code == 0, outcome.stderr
    assert (folder / "out").read_bytes() == (folder / "other").read_bytes()


def test_options(folder):
    outcome = run(folder, "--nouse_next_sentence", "--short_seq_prob=.2")
    assert outcome.exit_code == 0
    assert outcome.stderr.splitlines()[-1] == (
        "warning: --short_seq_prob has no effect without pairs"
    )
    # A line is a document.
    assert "1,200 sequences of 600 documents, read 2 times" in outcome.stdout
    (folder / "one.txt").write_text("word1 word2\nword3")
    outcome = run(folder, f"--input_file={folder}/one.txt", output="one")
    assert "there is one document only" in outcome.stderr
    assert " sequences of 1 documents, read 2 times" in outcome.stdout


def test_errors(folder):
    needed = "--input_file, --output_file and --vocab_file are needed"
    outcome = mains.run_main(
        create_pretraining_data.define_flags, create_pretraining_data.run, (), ()
    )
    assert outcome.error_lines() == [f"error: {needed}"]
    assert error(folder, "--output_file=a,b, a") == (
        "--output_file names a file twice; name each once"
    )
    assert error(folder, f"--input_file={folder}/a.txt,{folder}/c*") == (
        f"--input_file={folder}/c* matches no file; check the path"
    )
    assert error(folder, f"--vocab_file={folder}/a.txt").startswith(
        f"{folder}/a.txt: line "
    )
    (folder / "c.txt").write_bytes(b"one\n\n\xff\n")
    assert error(folder, f"--input_file={folder}/*.txt").startswith(
        f"{folder}/c.txt: line 3 is not UTF-8"
    )
    (folder / "c.txt").write_bytes(b"\x01\n")
    assert error(folder, f"--input_file={folder}/c.txt") == (
        "the text has no word pieces; check what it holds"
    )
    assert error(folder, f"--output_file={folder}/a.txt") == (
        f"{folder}/a.txt exists and is not overwritten; name another file"
    )


@pytest.mark.slow
def test_memory_does_not_grow_with_the_text(folder):
    """On 4 and 40 MB, within 1.2 times."""
    part = text(1000, seed=2)

    def peak(parts):
        path = folder / f"{parts}.txt"
        with open(path, "w") as file:
            for _ in range(parts):
                file.write(part)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "official.bert.create_pretraining_data"),
                *(f"--input_file={path}", f"--vocab_file={folder}/vocab.txt"),
                *(f"--output_file={folder}/{parts}", "--dupe_factor=1"),
            ],
            cwd=PROJECT_ROOT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss

    number = round(4_000_000 / len(part))
    few, many = peak(number), peak(10 * number)
    print(f"{few / 1024:.0f} and {many / 1024:.0f} MiB")
    assert many < 1.2 * few
