"""WMT14 over HTTP, from a server on loopback, and from TensorFlow Datasets."""

import dataclasses
import hashlib
import io
import os
import tarfile

import pytest

from official.transformer import data_download, wmt14
from official.utils.data import download
from official.utils.testing import http_server, mains
from official.utils.testing.http_server import Answer
from official.utils.testing.mains import assert_one_line_error

SGML = """<srcset>
<doc id="a">
<seg id="1"> {}  1 &lt;&amp;amp;&gt; </seg>
<SEG id="2">{}
2</SEG>
</doc></srcset>"""
CONTENTS = {
    "dev.tgz": {
        "dev/newstest2013.de": "drei\nvier\n",
        "dev/newstest2013.en": "three\nfour\n",
        "dev/newstest2013.fr": "trois\nquatre\n",
        "dev/newstest2014-deen-src.de.sgm": SGML.format("eins", "zwei"),
        "dev/newstest2014-deen-ref.en.sgm": SGML.format("one", "two"),
        "dev/newstest2014-fren-ref.en.sgm": SGML.format("no", "no"),
    },
    "training-parallel-nc-v12.tgz": {
        "training/news-commentary-v12.de-en.de": "neun\n",
        "training/news-commentary-v12.de-en.en": "nine\n",
        "training/news-commentary-v12.cs-en.en": "none\n",
    },
    "training-parallel-europarl-v7.tgz": {
        "training/europarl-v7.de-en.de": "sieben\n",
        "training/europarl-v7.de-en.en": "seven\n",
    },
    "training-parallel-commoncrawl.tgz": {
        "commoncrawl.de-en.de": "acht\n" * 2000,
        "commoncrawl.de-en.en": "eight\n" * 2000,
        "commoncrawl.de-en.annotation": "x\n",
    },
}
TEXTS = {
    "newstest2013.de": "drei\nvier\n",
    "newstest2013.en": "three\nfour\n",
    "newstest2014.de": "eins 1 <&amp;>\nzwei 2\n",
    "newstest2014.en": "one 1 <&amp;>\ntwo 2\n",
    "news-commentary-v12.de-en.de": "neun\n",
    "news-commentary-v12.de-en.en": "nine\n",
    "europarl-v7.de-en.de": "sieben\n",
    "europarl-v7.de-en.en": "seven\n",
    "commoncrawl.de-en.de": "acht\n" * 2000,
    "commoncrawl.de-en.en": "eight\n" * 2000,
}


def packed(members) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=0) as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return stream.getvalue()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    patience = download.Patience(timeout_seconds=5, backoff_seconds=0.001)
    monkeypatch.setattr(download.fetch, "__defaults__", (patience,))


@pytest.fixture
def server(monkeypatch):
    """Serves small archives; `contents` has them by name."""
    with http_server.serve() as running:
        running.contents = {name: packed(each) for name, each in CONTENTS.items()}
        use(running, monkeypatch)
        yield running


def use(server, monkeypatch):
    """Lets the archives be those that the server has."""
    local = []
    for archive in data_download.ARCHIVES:
        name = archive.remote.name
        content = server.contents[name]
        remote = dataclasses.replace(
            archive.remote,
            urls=(server.answer(name, Answer(content)),),
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
        )
        local.append(dataclasses.replace(archive, remote=remote))
    monkeypatch.setattr(data_download, "ARCHIVES", tuple(local))


def run(*arguments):
    return mains.run_main(data_download.define_flags, data_download.run, (), arguments)


def texts(folder):
    return {
        path.name: path.read_bytes().decode()
        for path in folder.iterdir()
        if path.suffix != ".tgz"
    }


def test_digests_are_those_of_tfds():
    datasets = pytest.importorskip("tensorflow_datasets")
    known = {}
    for name in ("wmt17_translate", "wmt19_translate"):
        known |= datasets.builder_cls(name).url_infos
    for archive in data_download.ARCHIVES:
        (url,) = archive.remote.urls
        info = known[url]
        assert (info.checksum, info.size) == (
            archive.remote.sha256,
            archive.remote.size_bytes,
        )


def test_downloads_and_unpacks_what_is_missing(server, tmp_path):
    data, raw = tmp_path / "data", tmp_path / "raw"
    arguments = (f"--data_dir={data}", f"--raw_dir={raw}")
    outcome = run(*arguments)
    assert outcome.exit_code == 0, outcome.stderr
    assert texts(data) == TEXTS
    assert sorted(os.listdir(raw)) == sorted(CONTENTS)
    said = outcome.stdout.splitlines()
    assert said[-2] == f"validation: {data}/newstest2013.en, {data}/newstest2013.de"
    assert len(server.requests) == 4

    assert run(*arguments).exit_code == 0
    (data / "newstest2014.en").unlink()
    (data / "newstest2014.de").write_text("mine")
    (data / "europarl-v7.de-en.de").rename(data / "europarl-v7.de-en.de.gz")
    assert run(*arguments).exit_code == 0
    changed = {"newstest2014.de": "mine", "europarl-v7.de-en.de.gz": "sieben\n"}
    found = TEXTS | changed
    del found["europarl-v7.de-en.de"]
    assert texts(data) == found
    assert len(server.requests) == 4


def test_archives_that_are_there_are_not_fetched(server, tmp_path):
    for name, content in server.contents.items():
        (tmp_path / name).write_bytes(content)
    assert run(f"--data_dir={tmp_path}").exit_code == 0
    assert texts(tmp_path) == TEXTS
    assert not server.requests


def test_a_download_that_was_cut_goes_on(server, tmp_path):
    name = "training-parallel-commoncrawl.tgz"
    content = server.contents[name]
    server.answer(name, Answer(content, cut_after=10_000), Answer(content))
    outcome = run(f"--data_dir={tmp_path}")
    assert outcome.exit_code == 0, outcome.stderr
    assert server.ranges(name) == [None, "bytes=10000-"]
    assert texts(tmp_path) == TEXTS


def test_what_cannot_be_fetched_and_what_is_another_file(server, tmp_path):
    name = "training-parallel-nc-v12.tgz"
    server.answer(name, Answer(status=404))
    assert_one_line_error(run(f"--data_dir={tmp_path}"), name, "answers 404")
    # What came before it is there; the next call asks for the rest.
    assert set(texts(tmp_path)) == {each for each in TEXTS if "newstest" in each}
    (tmp_path / name).write_bytes(b"another")
    assert_one_line_error(run(f"--data_dir={tmp_path}"), name, "7 bytes where")
    assert run().exit_code == 1
    assert_one_line_error(run(), "--data_dir is needed")
    assert_one_line_error(run("--data_dir=gs://a/b"), "gs://a/b is not on this machine")


@pytest.mark.parametrize(
    "file, content, fragment",
    [
        ("newstest2013.en", None, "holds no newstest2013.en"),
        ("newstest2014-deen-ref.en.sgm", "<doc/>", "ref.en.sgm has no sentences"),
    ],
)
def test_archives_of_other_content(
    server, tmp_path, monkeypatch, file, content, fragment
):
    members = dict(CONTENTS["dev.tgz"])
    members[f"dev/{file}"] = content
    members = {name: text for name, text in members.items() if text is not None}
    server.contents["dev.tgz"] = packed(members)
    use(server, monkeypatch)
    assert_one_line_error(
        run(f"--data_dir={tmp_path}"), f"{tmp_path}/dev.tgz", fragment
    )
    assert os.listdir(tmp_path) == ["dev.tgz"]


# ---- TensorFlow Datasets ----


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with a small wmt14_translate/de-en."""
    datasets = pytest.importorskip("tensorflow_datasets")
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("tfds")
    parts = {}
    for part, number in (("train", 5000), ("validation", 3), ("test", 2)):
        english = [f"{part} {i}" for i in range(number)]
        german = [f"{part}ß\n{i}" for i in range(number)]
        parts[part] = tf.data.Dataset.from_tensor_slices({"de": german, "en": english})
    datasets.dataset_builders.store_as_tfds_dataset(
        "wmt14_translate",
        config="de-en",
        version="1.0.0",
        data_dir=folder,
        split_datasets=parts,
        features=datasets.features.Translation(["de", "en"]),
        disable_shuffling=True,
    )
    return folder


def test_a_set_of_tensorflow_datasets(prepared):
    outcome = run(f"--data_dir={prepared}")
    assert outcome.exit_code == 0, outcome.stderr
    found = wmt14.find(str(prepared))
    assert found["train"] == (
        [f"{prepared}/wmt14_translate.de-en.en"],
        [f"{prepared}/wmt14_translate.de-en.de"],
    )
    for part, number in (("train", 5000), ("validation", 3), ("test", 2)):
        sides = []
        for (path,) in found[part]:
            with open(path, encoding="utf-8") as file:
                sides.append(file.read().splitlines())
        assert sorted(zip(*sides, strict=True)) == sorted(
            (f"{part} {i}", f"{part}ß {i}") for i in range(number)
        )
    # What is there stays.
    before = os.stat(found["train"][0][0]).st_mtime_ns
    assert run(f"--data_dir={prepared}").exit_code == 0
    assert os.stat(found["train"][0][0]).st_mtime_ns == before
