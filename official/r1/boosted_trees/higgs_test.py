import gzip
import hashlib

import numpy as np
import pytest

from official.r1.boosted_trees import data_download, higgs, train_higgs
from official.r1.boosted_trees.recipes import RECIPES
from official.utils.data.download import RemoteFile
from official.utils.testing import http_server, mains
from official.utils.testing.errors import message_of
from official.utils.testing.http_server import Answer


def made_table(number):
    """Rows as in HIGGS.csv: labels and float32 numbers with many digits."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(number, 29)).astype(np.float32)
    rows[:, 0] = rows[:, 5] + 0.5 * rows[:, 7] > 0
    lines = (",".join(f"{number:.18e}" for number in row) for row in rows)
    return rows, ("\n".join(lines) + "\n").encode()


@pytest.fixture(scope="module")
def made():
    return made_table(4000)


@pytest.fixture
def server(made, monkeypatch):
    packed = gzip.compress(made[1])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http_server.serve() as server:
        remote = RemoteFile(
            "HIGGS.csv.gz",
            (server.answer("HIGGS.csv.gz", Answer(packed)),),
            hashlib.sha256(packed).hexdigest(),
            len(packed),
        )
        monkeypatch.setattr(data_download, "REMOTE", remote)
        yield server


def test_conversion_in_blocks_keeps_every_number(made, tmp_path, monkeypatch):
    rows, text = made
    monkeypatch.setattr(higgs, "_BLOCK_BYTES", 1 << 16)
    (tmp_path / "HIGGS.csv.gz").write_bytes(gzip.compress(text))
    path = str(tmp_path / "HIGGS.npy")
    assert higgs.convert(str(tmp_path / "HIGGS.csv.gz"), path) == 4000
    np.testing.assert_array_equal(np.load(path), rows)
    found = higgs.read(str(tmp_path), 100, 50, "train")
    np.testing.assert_array_equal(found, rows[100:150])
    message = message_of(higgs.read, str(tmp_path), 3990, 11, "eval")
    assert message.startswith(
        "--eval_start=3990 --eval_count=11 reach beyond the 4,000"
    )


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: text.replace(b"\n", b",1\n", 1), "cannot be read as HIGGS after"),
        (lambda text: text.replace(b"e", b"x", 1), "cannot be read as HIGGS after row"),
        (lambda text: b"2" + text[1:], "row 0 (from 0) has a label that is not 0 or 1"),
        (lambda text: text[: text.rindex(b",")], "cannot be read as HIGGS after row 0"),
        (lambda text: b"", "cannot be read as HIGGS after row 0"),
    ],
)
def test_damaged_text(made, tmp_path, damage, expected):
    (tmp_path / "HIGGS.csv").write_bytes(damage(made[1]))
    path = tmp_path / "HIGGS.npy"
    message = message_of(higgs.convert, str(tmp_path / "HIGGS.csv"), str(path))
    assert expected in message and "fetch it again" in message
    assert not path.exists()


def test_cut_gzip(made, tmp_path):
    packed = gzip.compress(made[1])
    (tmp_path / "HIGGS.csv.gz").write_bytes(packed[: len(packed) // 2])
    path = tmp_path / "HIGGS.npy"
    message = message_of(higgs.convert, str(tmp_path / "HIGGS.csv.gz"), str(path))
    assert "HIGGS.csv.gz cannot be read as HIGGS after row" in message
    assert not path.exists()


def test_files_that_are_no_higgs(made, tmp_path):
    path = tmp_path / "HIGGS.npy"
    message = message_of(higgs.find, str(tmp_path))
    assert "HIGGS.npy" in message and "data_download" in message
    path.write_bytes(b"no")
    assert "is no .npy file" in message_of(higgs.num_rows, str(path))
    np.save(path, made[0].astype(np.float64))
    assert "float64 [4000, 29], not float32" in message_of(higgs.num_rows, str(path))
    np.save(path, made[0])
    path.write_bytes(path.read_bytes()[:-40])
    assert "it is cut" in message_of(higgs.num_rows, str(path))


def test_download_and_training(server, made, tmp_path):
    ended = mains.run_main(
        data_download.define_flags,
        data_download.run,
        (),
        [f"--data_dir={tmp_path / 'data'}"],
    )
    assert ended.exit_code == 0, ended
    assert "HIGGS.npy: 4,000 rows" in ended.stdout
    np.testing.assert_array_equal(np.load(tmp_path / "data" / "HIGGS.npy"), made[0])
    (tmp_path / "data" / "HIGGS.csv.gz").unlink()
    asked = len(server.requests)
    arguments = [
        *("--dataset=higgs", f"--data_dir={tmp_path / 'data'}", "--download"),
        *("--train_count=3000", "--eval_start=3000", "--n_trees=10"),
        f"--model_dir={tmp_path / 'run'}",
    ]
    run = (train_higgs.define_flags, train_higgs.run, RECIPES)
    ended = mains.run_main(*run, [*arguments, "--eval_count=1000"])
    assert ended.exit_code == 0, ended
    assert len(server.requests) == asked
    auc = float(ended.stdout.partition("auc")[2].split()[0])
    assert auc > 0.95
    ended = mains.run_main(*run, [*arguments, "--eval_count=1001", "--clean"])
    mains.assert_one_line_error(ended, "--eval_count=1001", "4,000 rows", "lower them")


def test_download_needs_a_folder():
    ended = mains.run_main(data_download.define_flags, data_download.run, (), [])
    mains.assert_one_line_error(ended, "--data_dir is needed")


def test_train_and_test_rows_must_differ(tmp_path):
    ended = mains.run_main(
        train_higgs.define_flags,
        train_higgs.run,
        RECIPES,
        ["--train_count=1000", "--eval_start=999", f"--model_dir={tmp_path / 'run'}"],
    )
    mains.assert_one_line_error(ended, "overlap", "--eval_start")
