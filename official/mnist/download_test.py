"""MNIST's files over HTTP, from a server on loopback."""

import dataclasses
import gzip
import hashlib
import os

import numpy as np
import pytest

from official.mnist import dataset, mnist, recipes
from official.utils.data import download
from official.utils.testing import http_server, mains
from official.utils.testing.data import real_data
from official.utils.testing.http_server import Answer
from official.utils.testing.mains import assert_one_line_error

NAMES = [remote.name for remote in dataset.REMOTE_FILES]


def packed_files() -> dict[str, bytes]:
    """The four files of a small MNIST."""
    count, generator = 24, np.random.default_rng(0)
    files = {}
    for name in NAMES:
        if "images" in name:
            head, values = [0x803, count, 28, 28], generator.bytes(count * 784)
        else:
            head, values = [0x801, count], bytes(index % 10 for index in range(count))
        content = np.array(head, ">u4").tobytes() + values
        files[name] = gzip.compress(content, mtime=0)
    return files


FILES = packed_files()


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    patience = download.Patience(timeout_seconds=5, backoff_seconds=0.001)
    monkeypatch.setattr(download.fetch, "__defaults__", (patience,))


def use_addresses(monkeypatch, url_of):
    """Lets the files be those of the small MNIST, at the address `url_of(name)`."""
    remotes = [
        dataclasses.replace(
            remote,
            urls=(url_of(remote.name),),
            sha256=hashlib.sha256(FILES[remote.name]).hexdigest(),
            size_bytes=len(FILES[remote.name]),
        )
        for remote in dataset.REMOTE_FILES
    ]
    monkeypatch.setattr(dataset, "REMOTE_FILES", remotes)


@pytest.fixture
def server(monkeypatch):
    with http_server.serve() as running:
        for name, content in FILES.items():
            running.answer(name, Answer(content))
        use_addresses(monkeypatch, running.url)
        yield running


def run(*arguments):
    arguments = ["--train_steps=2", "--batch_size=8", "--model_dir=run", *arguments]
    return mains.run_main(mnist.define_flags, mnist.run, recipes.RECIPES, arguments)


def test_the_digests_are_those_of_the_original_files():
    folder = real_data("mnist")
    for remote in dataset.REMOTE_FILES:
        # Fails where the file is another one; without network.
        assert download.fetch(remote, folder) == os.path.join(folder, remote.name)
        assert [url.startswith("https://") for url in remote.urls] == [True, True]
        assert all(url.endswith(f"/mnist/{remote.name}") for url in remote.urls)


def test_download_and_train(server, tmp_path):
    # The first connection is cut; the rest comes over a second one.
    images = FILES[NAMES[0]]
    server.answer(NAMES[0], Answer(images, cut_after=5000), Answer(images))
    arguments = ["--dataset=mnist", "--data_dir=new/data", "--download"]
    outcome = run(*arguments)
    assert outcome.exit_code == 0, outcome
    for name in NAMES:
        assert f"fetching {name} ({len(FILES[name]):,} bytes)" in outcome.stdout
        assert (tmp_path / "new" / "data" / name).read_bytes() == FILES[name]
    assert "read from new/data (22 train, 2 validation, 24 test" in outcome.stdout
    assert outcome.stderr.count("warning: ") == 1
    assert "cut the connection after 5000 of" in outcome.stderr
    assert sorted(os.listdir("new/data")) == sorted(NAMES)
    assert server.ranges(NAMES[0]) == [None, "bytes=5000-"]

    # What is there is not fetched again.
    server.answer(NAMES[0], Answer(status=404))
    outcome = run(*arguments, "--clean")
    assert outcome.exit_code == 0, outcome
    assert "fetching" not in outcome.stdout and not outcome.error_lines()
    assert len(server.requests) == 5


def test_only_missing_files_are_fetched(server, tmp_path):
    # Unpacked, and with the dot that some archives write.
    for name in NAMES[:2]:
        plain = name.removesuffix(".gz").replace("-idx", ".idx")
        (tmp_path / plain).write_bytes(gzip.decompress(FILES[name]))
    data = dataset.load("mnist", str(tmp_path), seed=0, may_download=True)
    assert len(data.test.labels) == 24
    assert [request.path for request in server.requests] == [
        f"/{name}" for name in NAMES[2:]
    ]


@pytest.mark.parametrize(
    "answer, fragment",
    [
        (Answer(status=404), "answers 404 Not Found; check the network"),
        (Answer(status=500), "answers 500 Internal Server Error (5 tries)"),
        (Answer(bytes(len(FILES[NAMES[1]]))), "has a file with SHA-256"),
    ],
    ids=["404", "500", "checksum"],
)
def test_a_file_that_cannot_be_fetched(server, answer, fragment):
    url = server.answer(NAMES[1], answer)
    outcome = run("--dataset=mnist", "--data_dir=data", "--download")
    assert_one_line_error(outcome, f"data/{NAMES[1]}", url, fragment)
    assert os.listdir("data") == [NAMES[0]]
    assert not os.path.exists("run/checkpoints")


def test_without_network(monkeypatch):
    address = http_server.unused_url()
    use_addresses(monkeypatch, lambda name: address + name)
    outcome = run("--dataset=mnist", "--data_dir=data", "--download")
    assert_one_line_error(
        outcome, f"{address}{NAMES[0]} cannot be reached", "check the network"
    )
    assert os.listdir("data") == []


def test_without_permission_nothing_is_fetched(server, tmp_path):
    for folder in ("data", "missing"):
        (tmp_path / "data").mkdir(exist_ok=True)
        outcome = run("--dataset=mnist", f"--data_dir={folder}")
        assert_one_line_error(outcome, folder, "--download fetches it there")
    assert not server.requests


@pytest.mark.parametrize("flags", [[], ["--download"]])
def test_a_folder_is_needed(server, flags):
    outcome = run("--dataset=mnist", *flags)
    assert_one_line_error(outcome, "needs --data_dir", "--download fetches it there")
    assert not server.requests


def test_a_bucket_is_not_downloaded_to(server):
    outcome = run("--dataset=mnist", "--data_dir=ram://bucket", "--download")
    assert_one_line_error(outcome, "ram://bucket is not on this machine")
    assert not server.requests


def test_download_has_no_effect_on_the_embedded_set(server):
    outcome = run("--download")
    assert outcome.exit_code == 0, outcome
    assert "warning: --download has no effect: this run reads no" in outcome.stderr
    assert not server.requests
