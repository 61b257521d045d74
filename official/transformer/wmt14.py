"""The files of WMT14 English to German, as they come out of their archives."""

import re

import tensorflow as tf

from official.utils.data.files import reading
from official.utils.errors import UserError

# By part: for each corpus where its English and German files may lie.
FILES = {
    "train": (
        "news-commentary-v12.de-en",
        "commoncrawl.de-en",
        "europarl-v7.de-en",
    ),
    "validation": ("newstest2013",),
    "test": ("newstest2014",),
}
_FOLDERS = ("", "training", "dev", "test-full")
_ENDINGS = ("", ".gz")
_REMEDY = "run `python -m official.transformer.data_download --data_dir=DIR` first"


def find(data_dir: str | None) -> dict[str, tuple[list[str], list[str]]]:
    """Finds the files of each part.

    Args:
        data_dir: the folder with the unpacked files, or with the folders `training`,
            `dev` and `test-full` of the archives.

    Returns:
        For `train`, `validation` and `test` the English files and the German ones.

    Raises:
        UserError: a file is missing; the message names it.
    """
    if not data_dir:
        raise UserError(f"--dataset=wmt14_en_de needs --data_dir; {_REMEDY}")
    return {
        part: tuple(
            [_path(data_dir, f"{corpus}.{language}") for corpus in corpora]
            for language in ("en", "de")
        )
        for part, corpora in FILES.items()
    }


def _path(data_dir: str, name: str) -> str:
    for folder in _FOLDERS:
        for ending in _ENDINGS:
            path = tf.io.gfile.join(data_dir, folder, f"{name}{ending}")
            with reading(f"--data_dir={data_dir}"):
                if tf.io.gfile.exists(path):
                    return path
    raise UserError(f"--data_dir={data_dir} has no {name}; {_REMEDY}")


def segments(content: str) -> list[str]:
    """The sentences of an SGML file, as the test sets are published."""
    found = re.findall(r"<seg[^>]*>(.*?)</seg>", content, re.DOTALL | re.IGNORECASE)
    entities = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&"))
    for entity, character in entities:
        found = [sentence.replace(entity, character) for sentence in found]
    return [" ".join(sentence.split()) for sentence in found]
