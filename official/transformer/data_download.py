"""Fetches WMT14 English to German: the corpora and the test sets of 2019.

    python -m official.transformer.data_download --data_dir=DIR

Archives that lie in --raw_dir are not fetched, and a download that was cut goes on. Of
each archive only the German and English files are unpacked. A set that TensorFlow
Datasets prepared in --data_dir (wmt14_translate/de-en) is written as text in their
place. What is there already is left as it is.
"""

import dataclasses
import os
import re
import tempfile
from collections.abc import Iterator
from xml.sax import saxutils

from absl import flags

from official.utils import app
from official.utils.data import archives, download
from official.utils.data.download import RemoteFile
from official.utils.errors import UserError, writing
from official.utils.flags.definer import Definer

# All archives together had 8.4 GB unpacked in 2019, with the other languages.
_MAX_BYTES = 8 << 30
# Both sides of the test set, by what they become: SGML in dev.tgz.
_SGML = {
    "newstest2014.de": "newstest2014-deen-src.de.sgm",
    "newstest2014.en": "newstest2014-deen-ref.en.sgm",
}
# Records of TensorFlow Datasets that are parsed at a time.
_RECORDS = 4096


@dataclasses.dataclass(frozen=True)
class Archive:
    """An archive and what is wanted of it.

    Attributes:
        remote: the archive.
        corpora: `NAME.de` and `NAME.en` of each are wanted.
    """

    remote: RemoteFile
    corpora: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """What the archive gives, by the names that `wmt14` looks for."""
        return tuple(
            f"{corpus}.{language}"
            for corpus in self.corpora
            for language in ("de", "en")
        )


def _archive(url: str, sha256: str, size_bytes: int, *corpora: str) -> Archive:
    remote = RemoteFile(os.path.basename(url), (url,), sha256, size_bytes)
    return Archive(remote, corpora)


# Sizes and digests are those that TensorFlow Datasets lists.
ARCHIVES = (
    _archive(
        "http://data.statmt.org/wmt19/translation-task/dev.tgz",
        "7a7deccf82ebb05ba508dba5eb21356492224e8f630ec4f992132b029b4b25e7",
        38_654_961,
        "newstest2013",
        "newstest2014",
    ),
    _archive(
        "http://data.statmt.org/wmt17/translation-task/training-parallel-nc-v12.tgz",
        "2b45f30ef1d550d302fd17dd3a5cbe19134ccc4c2cf50c2dae534aee600101a2",
        168_591_139,
        "news-commentary-v12.de-en",
    ),
    _archive(
        "http://www.statmt.org/wmt13/training-parallel-europarl-v7.tgz",
        "0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7",
        657_632_379,
        "europarl-v7.de-en",
    ),
    _archive(
        "http://www.statmt.org/wmt13/training-parallel-commoncrawl.tgz",
        "c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5",
        918_311_367,
        "commoncrawl.de-en",
    ),
)


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    define = Definer(flag_values, "data_download")
    define.string("data_dir", None, "Folder for the text.")
    define.string("raw_dir", None, "Folder of the archives. Default: --data_dir.")
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Brings the files of WMT14 to a folder.

    Args:
        flags_obj: parsed flags.

    Returns:
        `files`, how many were written.

    Raises:
        UserError: a flag is missing, an archive cannot be fetched or is another one, or
            the folder takes no files.
    """
    if not flags_obj.data_dir:
        raise UserError("--data_dir is needed: the folder for the files")

    from official.transformer import wmt14
    from official.utils.data import tfds

    data_dir = os.path.expanduser(flags_obj.data_dir)
    raw_dir = os.path.expanduser(flags_obj.raw_dir or flags_obj.data_dir)
    download.require_local(data_dir)
    prepared = tfds.find(data_dir, wmt14.TFDS_SET)
    if prepared is not None:
        written = _write_tfds(prepared, data_dir)
    else:
        written = 0
        for archive in ARCHIVES:
            missing = [n for n in archive.files if not wmt14.has(data_dir, n)]
            if missing:
                path = download.fetch(archive.remote, raw_dir)
                _unpack(path, data_dir, missing)
                written += len(missing)
    for part, sides in wmt14.find(data_dir).items():
        print(f"{part}: {', '.join(path for side in sides for path in side)}")
    return {"files": written}


# ---- Archives ----


def _unpack(path: str, data_dir: str, names: list[str]) -> None:
    """Brings the files `names` of an archive to the folder, each whole or not."""
    print(f"unpacking {', '.join(names)} of {path}", flush=True)
    with writing(data_dir):
        os.makedirs(data_dir, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".unpacking", dir=data_dir)
    members = {_SGML.get(name, name): name for name in names}
    with scratch as folder:
        folder = os.path.join(folder, "archive")
        found = archives.unpack(path, folder, _MAX_BYTES, names=members)
        paths = {os.path.basename(each): each for each in found}
        for member, name in members.items():
            if member not in paths:
                raise UserError(
                    f"{path} holds no {member}; delete it and run this again"
                )
            if member != name:
                _write_segments(paths[member], path)
        with writing(data_dir):
            for member, name in members.items():
                os.replace(paths[member], os.path.join(data_dir, name))


def _write_segments(path: str, archive: str) -> None:
    """Replaces an SGML file by its sentences, one a line."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        sentences = segments(content.decode())
    except UnicodeDecodeError:
        sentences = []
    if not sentences:
        name = os.path.basename(path)
        raise UserError(f"{archive}: {name} has no sentences; delete it and run again")
    with writing(path), open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{sentence}\n" for sentence in sentences)


def segments(content: str) -> list[str]:
    """The sentences of a test set as it is published.

    Args:
        content: SGML, with a sentence in each `<seg>`.

    Returns:
        The sentences in their order, with one blank between words.
    """
    found = re.findall(r"<seg\b[^>]*>(.*?)</seg>", content, re.DOTALL | re.IGNORECASE)
    entities = {"&quot;": '"', "&apos;": "'"}
    return [" ".join(saxutils.unescape(each, entities).split()) for each in found]


# ---- TensorFlow Datasets ----


def _write_tfds(folder: str, data_dir: str) -> int:
    """Writes the parts of a prepared set as text."""
    from official.transformer import wmt14

    names = {
        "train": wmt14.TFDS_TRAIN,
        "validation": wmt14.VALIDATION,
        "test": wmt14.TEST,
    }
    written = 0
    for split, name in names.items():
        paths = [f"{os.path.join(data_dir, name)}.{each}" for each in wmt14.LANGUAGES]
        if all(map(os.path.exists, paths)):
            continue
        print(f"writing {', '.join(paths)} of {folder}", flush=True)
        with tempfile.TemporaryDirectory(prefix=".writing", dir=data_dir) as scratch:
            scratch_paths = [os.path.join(scratch, each) for each in wmt14.LANGUAGES]
            with (
                writing(data_dir),
                open(scratch_paths[0], "wb") as english,
                open(scratch_paths[1], "wb") as german,
            ):
                for pair in _pairs(folder, split):
                    for file, sentence in zip((english, german), pair, strict=True):
                        file.write(b" ".join(sentence.split(b"\n")) + b"\n")
            with writing(data_dir):
                for source, target in zip(scratch_paths, paths, strict=True):
                    os.replace(source, target)
        written += 2
    return written


def _pairs(folder: str, split: str) -> Iterator[tuple[bytes, bytes]]:
    """The English and German sentences of a part."""
    import tensorflow as tf

    from official.utils.data import tfds

    found = tfds.open_split(folder, split)
    features = {each: tf.io.FixedLenFeature([], tf.string) for each in ("en", "de")}
    records = tf.data.TFRecordDataset(found.files.paths).batch(_RECORDS)
    records = records.map(lambda batch: tf.io.parse_example(batch, features))
    try:
        for batch in records.as_numpy_iterator():
            yield from zip(batch["en"], batch["de"], strict=True)
    except tf.errors.OpError as error:
        raise found.files.explain(error) or UserError(
            f"{folder} holds no pairs of English and German; prepare the set again"
        ) from error


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
