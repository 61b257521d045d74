"""Where the files of WMT14 may lie."""

import os

from official.transformer import wmt14
from official.utils.testing.errors import message_of


def touch(folder, *names):
    for name in names:
        for language in ("en", "de"):
            path = folder / name.replace("*", language)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("a\n")


def test_plain_files(tmp_path):
    touch(tmp_path, *(f"{each}.*" for each in wmt14.CORPORA))
    touch(tmp_path, "newstest2013.*", "newstest2014.*")
    found = wmt14.find(str(tmp_path))
    names = {
        part: [[os.path.basename(path) for path in side] for side in sides]
        for part, sides in found.items()
    }
    assert names == {
        "train": [
            [f"{corpus}.{each}" for corpus in wmt14.CORPORA] for each in ("en", "de")
        ],
        "validation": [["newstest2013.en"], ["newstest2013.de"]],
        "test": [["newstest2014.en"], ["newstest2014.de"]],
    }


def test_folders_of_the_archives_and_packed_files(tmp_path):
    touch(tmp_path, "training/news-commentary-v12.de-en.*", "commoncrawl.de-en.*.gz")
    touch(tmp_path, "training/europarl-v7.de-en.*.gz", "dev/newstest2013.*")
    # A folder of the name of a file does not count.
    (tmp_path / "newstest2014.en").mkdir()
    message = message_of(wmt14.find, str(tmp_path))
    assert message == (
        f"--data_dir={tmp_path} has no newstest2014.en; run `python -m "
        f"official.transformer.data_download --data_dir={tmp_path}`"
    )
    touch(tmp_path, "dev/newstest2014.*")
    english, german = wmt14.find(str(tmp_path))["train"]
    assert english == [
        f"{tmp_path}/training/news-commentary-v12.de-en.en",
        f"{tmp_path}/commoncrawl.de-en.en.gz",
        f"{tmp_path}/training/europarl-v7.de-en.en.gz",
    ]
    assert german == [path.replace("-en.en", "-en.de") for path in english]


def test_text_of_tensorflow_datasets(tmp_path):
    touch(tmp_path, "wmt14_translate.de-en.*", "newstest2013.*", "newstest2014.*")
    (english,), (german,) = wmt14.find(str(tmp_path))["train"]
    assert english == f"{tmp_path}/wmt14_translate.de-en.en"
    assert german == f"{tmp_path}/wmt14_translate.de-en.de"
    # The corpora of 2019 come first, and then all of them are needed.
    touch(tmp_path, "commoncrawl.de-en.*")
    assert "has no news-commentary-v12.de-en.en" in message_of(
        wmt14.find, str(tmp_path)
    )


def test_no_folder():
    assert "--dataset=wmt14_en_de needs --data_dir" in message_of(wmt14.find, None)
    assert "/no/folder has no news" in message_of(wmt14.find, "/no/folder")
