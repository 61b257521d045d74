"""The files of WMT14 English to German, as `data_download` leaves them."""

import tensorflow as tf

from official.utils.data.files import reading
from official.utils.errors import UserError

LANGUAGES = ("en", "de")
# The corpora of 2019, and the test sets.
CORPORA = (
    "news-commentary-v12.de-en",
    "commoncrawl.de-en",
    "europarl-v7.de-en",
)
VALIDATION, TEST = "newstest2013", "newstest2014"
# The set of TensorFlow Datasets, whose training part has news-commentary-v9.
TFDS_SET = "wmt14_translate/de-en"
TFDS_TRAIN = "wmt14_translate.de-en"
# Where the archives have them, beside the folder itself.
_FOLDERS = ("", "training", "dev")
_ENDINGS = ("", ".gz")


def find(data_dir: str | None) -> dict[str, tuple[list[str], list[str]]]:
    """Finds the files of each part.

    Args:
        data_dir: the folder with the files, or with the folders `training` and `dev` of
            the archives; files may be gzipped.

    Returns:
        For `train`, `validation` and `test` the English files and the German ones.

    Raises:
        UserError: a file is missing; the message names it.
    """
    if not data_dir:
        raise UserError(
            "--dataset=wmt14_en_de needs --data_dir; run `python -m "
            "official.transformer.data_download --data_dir=DIR`, and name that"
        )
    is_of_tfds = _path(data_dir, f"{TFDS_TRAIN}.en") and not any(
        _path(data_dir, f"{corpus}.en") for corpus in CORPORA
    )
    parts = {
        "train": [TFDS_TRAIN] if is_of_tfds else CORPORA,
        "validation": [VALIDATION],
        "test": [TEST],
    }
    return {
        part: tuple(
            [_required(data_dir, f"{corpus}.{language}") for corpus in corpora]
            for language in LANGUAGES
        )
        for part, corpora in parts.items()
    }


def has(data_dir: str, name: str) -> bool:
    """Whether a file is there, plain or gzipped."""
    return _path(data_dir, name) is not None


def _required(data_dir: str, name: str) -> str:
    path = _path(data_dir, name)
    if path is None:
        raise UserError(
            f"--data_dir={data_dir} has no {name}; run `python -m "
            f"official.transformer.data_download --data_dir={data_dir}`"
        )
    return path


def _path(data_dir: str, name: str) -> str | None:
    for folder in _FOLDERS:
        for ending in _ENDINGS:
            path = tf.io.gfile.join(data_dir, folder, f"{name}{ending}")
            with reading(f"--data_dir={data_dir}"):
                if tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path):
                    return path
    return None
