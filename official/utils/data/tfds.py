"""Data sets that TensorFlow Datasets (TFDS) prepared, read by our own streams.

    python -m official.utils.data.tfds --dataset=mnist --data_dir=DIR --manual_dir=RAW

prepares a set once: its original files are taken from `--manual_dir` and checked
against TFDS's checksums, or fetched with `--download`. A main then reads the folder.

TFDS is imported only where it is used, because that takes seconds.
"""

import contextlib
import dataclasses
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from absl import flags

from official.utils import app
from official.utils.errors import UserError, one_line

METADATA = "dataset_info.json"


def find(data_dir: str, name: str) -> str | None:
    """Finds a prepared set in a folder.

    Args:
        data_dir: the folder that TFDS was given (it holds `NAME/VERSION/`), or
            `.../NAME`, or `.../NAME/VERSION`.
        name: the set's name in TFDS, `mnist` or `glue/cola`.

    Returns:
        The folder that holds `dataset_info.json`, of several versions the newest; None
        if there is none.
    """
    import tensorflow as tf

    join = tf.io.gfile.join
    if tf.io.gfile.exists(join(data_dir, METADATA)):
        return data_dir
    last = name.rpartition("/")[2]
    folders = [join(data_dir, name)]
    if os.path.basename(data_dir.rstrip("/")) == last:
        folders.append(data_dir)
    for folder in folders:
        found = tf.io.gfile.glob(join(folder, "*", METADATA))
        versions = [os.path.dirname(path) for path in found]
        versions = [
            path for path in versions if re.fullmatch(r"[\d.]+", os.path.basename(path))
        ]
        if versions:
            return max(versions, key=_version)
    return None


def _version(path: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", os.path.basename(path))]


@dataclasses.dataclass(frozen=True, eq=False)
class TfdsSplit:
    """One split of a prepared set.

    Attributes:
        name: name and version of the set, `mnist 3.0.1`.
        files: its shards, `RecordFiles` with the counts of the metadata.
        features: TFDS's description of an example, which decodes it.
    """

    name: str
    files: Any
    features: Any

    def parse(self, serialized):
        """Decodes records as TFDS does.

        Args:
            serialized: string [rows].

        Returns:
            The set's features by name, [rows, ...]; they must have one shape each.
        """
        import tensorflow as tf

        return tf.map_fn(
            self.features.deserialize_example,
            serialized,
            fn_output_signature=self.features.get_tensor_spec(),
        )


def open_split(folder: str, split: str) -> TfdsSplit:
    """Opens a split of a prepared set.

    Args:
        folder: where `find` found it.
        split: `train`, `test`, ...

    Returns:
        The split.

    Raises:
        UserError: the metadata or a file is missing or damaged, there is no such split,
            or its files are no TFRecord files.
    """
    import tensorflow as tf

    from official.utils.data import record_counts, record_files

    tfds = _import()
    with _one_line(f"{folder} is no folder of a prepared set"):
        builder = tfds.builder_from_directory(folder)
        splits = builder.info.splits
        features = builder.info.features
    if split not in splits:
        raise UserError(
            f"{folder} holds no split {split}; it has {', '.join(splits) or 'none'}"
        )
    kind = builder.info.file_format
    if kind is None or kind.value != "tfrecord":
        raise UserError(
            f"{folder} holds {kind.value if kind else 'unknown'} files; prepare the "
            "set as tfrecord"
        )
    with _one_line(f"{folder}/{METADATA} does not describe the files of {split}"):
        counts = list(splits[split].shard_lengths)
        paths = [os.fspath(path) for path in splits[split].filepaths]
        num_bytes = int(splits[split].num_bytes)
        shards = [pair for pair in zip(paths, counts, strict=True) if pair[1]]
    if not shards:
        raise UserError(f"{folder} holds no examples of the split {split}")
    for path, _ in shards:
        if not tf.io.gfile.exists(path):
            raise UserError(
                f"{path} is missing, though {METADATA} beside it names it; prepare "
                "the set again"
            )
    # TFDS counts the bytes of the records; a file has 16 more for each.
    size = sum(tf.io.gfile.stat(path).length for path, _ in shards)
    if size != num_bytes + 16 * sum(counts):
        for path, count in shards:
            found, _ = record_counts.count_records(path, "")
            if found != count:
                raise UserError(
                    f"{path} has {found} records where {METADATA} beside it says "
                    f"{count}; prepare the set again"
                )
    files = record_files.RecordFiles(
        tuple(path for path, _ in shards),
        tuple(count for _, count in shards),
        num_bytes,
    )
    return TfdsSplit(f"{builder.info.name} {builder.info.version}", files, features)


def prepare(
    name: str, data_dir: str, manual_dir: str | None = None, download: bool = False
) -> str:
    """Prepares a set, if that is not yet done.

    Args:
        name: the set's name in TFDS.
        data_dir: the folder to prepare it in, as `NAME/VERSION/`.
        manual_dir: the folder of its original files, under their original names.
        download: whether files that are not there may be fetched.

    Returns:
        The folder of the prepared set.

    Raises:
        UserError: TFDS has no such set, files are missing and may not be fetched, they
            are not the original ones, or the set cannot be written.
    """
    tfds = _import()
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with _one_line(f"TFDS knows no set {name}"):
        builder = tfds.builder(name, data_dir=data_dir)
    folder = os.fspath(builder.data_path)
    if builder.is_prepared():
        return folder
    if not download:
        _check_files(name, builder, manual_dir)
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    with _one_line(f"the set {name} could not be prepared in {data_dir}"):
        builder.download_and_prepare(download_config=config)
    return folder


def _check_files(name: str, builder: Any, manual_dir: str | None) -> None:
    """Checks that all original files are in `manual_dir`."""
    wanted = sorted(info.filename for info in builder.url_infos.values())
    missing = [
        file
        for file in wanted
        if not manual_dir or not os.path.exists(os.path.join(manual_dir, file))
    ]
    if missing or not wanted:
        what = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        raise UserError(
            f"the set {name} lacks {what or 'a list of its files'} in "
            f"--manual_dir={manual_dir}; put the original files there, or allow to "
            "fetch them with --download"
        )


def _import() -> Any:
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UserError(
            f"TFDS folders need tensorflow-datasets ({one_line(error)}); run "
            "`pip install tensorflow-datasets importlib_resources`"
        ) from None
    return tensorflow_datasets


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    """TFDS raises errors of many kinds for what is wrong with files and names."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        message = one_line(error).rstrip(".:")
        raise UserError(f"{what} ({message}); check name and path") from error


def define_flags() -> flags.FlagValues:
    """Flags of the command that prepares a set."""
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name="tfds")
    flags.DEFINE_string("dataset", None, "Name of the set in TFDS.", **own)
    flags.DEFINE_string("data_dir", None, "Folder to prepare it in.", **own)
    flags.DEFINE_string("manual_dir", None, "Folder of its original files.", **own)
    flags.DEFINE_boolean("download", False, "Allow fetching the files.", **own)
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prepares a set and prints where it is.

    Args:
        flags_obj: parsed flags.

    Returns:
        Nothing that could be measured.
    """
    if not flags_obj.dataset or not flags_obj.data_dir:
        raise UserError("--dataset and --data_dir are needed: what to prepare, where")
    expand = os.path.expanduser
    print(
        prepare(
            flags_obj.dataset,
            expand(flags_obj.data_dir),
            flags_obj.manual_dir and expand(flags_obj.manual_dir),
            flags_obj.download,
        )
    )
    return {}


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
