"""What every data set of pictures comes down to: three parts of one of three kinds."""

import dataclasses

import numpy as np

from official.utils.data.record_files import Parse, RecordFiles


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
    """Decoded pictures of one size, in memory.

    Attributes:
        images: uint8 [N, height, width, 3].
        labels: int32 [N].
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class Files:
    """Encoded pictures, each a file of its own.

    Attributes:
        paths: the files, strings [N].
        labels: int32 [N].
    """

    paths: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """Encoded pictures in TFRecord files.

    Attributes:
        files: where the records are.
        parse: maps records, string [N], to `image_bytes`, string [N], and `label`,
            int32 [N].
        keep: which records of the files belong to the part, bool; None for all.
    """

    files: RecordFiles
    parse: Parse
    keep: np.ndarray | None = None

    def __len__(self) -> int:
        return self.files.num_records if self.keep is None else int(self.keep.sum())


Part = Arrays | Files | Records


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in its three parts, which share no picture.

    Attributes:
        name: as `--dataset` takes it.
        source: where it comes from, in words, for the first line of a run.
        train: what the weights are fitted to.
        validation: what choices are made on.
        test: what is reported; the same pictures whatever the seed.
        class_names: the name of each label.
    """

    name: str
    source: str
    train: Part
    validation: Part
    test: Part
    class_names: tuple[str, ...]
