"""CIFAR-10 in the forms in which people have it.

    binary  `data_batch_1.bin`, ... and `test_batch.bin`; a name may have a part before
            `.bin`, as in `data_batch_1.first4000.bin.gz`. A record is a byte for the
            label and 3072 for the pixels.
    python  `data_batch_1`, ... and `test_batch`: pickles of a dict with `data`, uint8
            [N, 3072], and `labels`, a list of N numbers.
    TFDS    what TensorFlow Datasets prepared, `cifar10/VERSION/`.

The files of the first two may be gzipped, and lie in the folder itself or in the one
that their archive holds. Of several forms the first is read. Pixels are stored plane by
plane: red, green, blue (https://www.cs.toronto.edu/~kriz/cifar.html; Krizhevsky,
"Learning Multiple Layers of Features from Tiny Images", 2009).
"""

import dataclasses
import itertools
import os
import pickletools
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.utils.data import archives, download, files, record_files, splits, tfds
from official.utils.data.download import RemoteFile
from official.utils.errors import UserError, one_line, writing
from official.vision.image_classification.parts import Arrays, Dataset

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
IMAGE_SIZE = 32
NUM_PIXELS = 3 * IMAGE_SIZE**2
# One in ten of the training pictures: 5,000 of 50,000.
VALIDATION_DIVISOR = 10
# An original file has 31 MB; all 60,000 pictures have 184.
MAX_FILE_BYTES = 1 << 28

_FETCH = "delete it and fetch the original again"
_WANTED = (
    "data_batch_1.bin to data_batch_5.bin and test_batch.bin (binary version), "
    "data_batch_1 to data_batch_5 and test_batch (python version), or cifar10/ of TFDS"
)
_DOWNLOAD = "; --download fetches it there"


def load(data_dir: str | None, seed: int, may_download: bool = False) -> Dataset:
    """Reads the data set.

    Args:
        data_dir: the folder that holds it in one of the forms.
        seed: draws the validation part; the test part does not depend on it.
        may_download: where the folder has none of the forms, unpack the archive that
            lies there, or fetch one and unpack it.

    Returns:
        The data set; its parts are `Arrays` of pictures uint8 [N, 32, 32, 3].

    Raises:
        UserError: the folder holds none of the forms, a file is missing or is not what
            it should be, or the archive cannot be fetched or unpacked.
    """
    if not data_dir:
        raise UserError(
            f"the data set cifar10 needs --data_dir: give the folder that holds "
            f"{_WANTED}{_DOWNLOAD}"
        )
    try:
        found = _read(data_dir)
        if found is None and may_download:
            _unpack_archive(data_dir)
            found = _read(data_dir)
        if found is None:
            raise _nothing_found(data_dir)
    except tf.errors.OpError as error:
        raise UserError(
            f"--data_dir={data_dir} cannot be read ({one_line(error)}); check the path "
            "and that you have the right to read it"
        ) from None
    source, training, test = found
    if len(training) < 2:
        raise UserError(
            f"--data_dir={data_dir} has 1 training image, too few to hold some out for "
            "validation; give at least 2"
        )
    num_validation = max(1, len(training) // VALIDATION_DIVISOR)
    kept, held_out = splits.split_indices(len(training), num_validation, seed)
    return Dataset(
        name="cifar10",
        source=source,
        train=Arrays(training.images[kept], training.labels[kept]),
        validation=Arrays(training.images[held_out], training.labels[held_out]),
        test=test,
        class_names=CLASS_NAMES,
    )


def _nothing_found(data_dir: str) -> UserError:
    wanted = f"give the folder that holds {_WANTED}"
    if not tf.io.gfile.exists(data_dir):
        return UserError(
            f"--data_dir={data_dir} does not exist; {wanted} of the data set "
            f"cifar10{_DOWNLOAD}"
        )
    if not tf.io.gfile.isdir(data_dir):
        return UserError(
            f"--data_dir={data_dir} is no folder; {wanted} of the data set cifar10"
        )
    for archive in ARCHIVES:
        path = tf.io.gfile.join(data_dir, archive.remote.name)
        if tf.io.gfile.exists(path):
            return UserError(
                f"{path} is still packed; unpack it there, or let --download do it"
            )
    return UserError(
        f"--data_dir={data_dir} holds no form of the data set cifar10; {wanted}"
        f"{_DOWNLOAD}"
    )


# What is in a folder: where it comes from, the training and the test pictures.
_Found = tuple[str, Arrays, Arrays]


def _read(data_dir: str) -> _Found | None:
    """Reads the first form that the folder has; None if it has none."""
    for form in _FORMS:
        for folder in (data_dir, tf.io.gfile.join(data_dir, form.folder)):
            if batches := _find_batches(folder, form):
                return _read_batches(folder, batches, form)
    folder = tfds.find(data_dir, "cifar10")
    return None if folder is None else _read_tfds(folder)


def _join(batches: Sequence[Arrays]) -> Arrays:
    return Arrays(
        np.concatenate([batch.images for batch in batches]),
        np.concatenate([batch.labels for batch in batches]),
    )


def _images(pixels: np.ndarray) -> np.ndarray:
    """Turns planes, uint8 [N, 3072], into pictures, uint8 [N, 32, 32, 3]."""
    planes = pixels.reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _checked_labels(where: str, labels: np.ndarray) -> np.ndarray:
    """Labels as int32, if all of them are numbers of classes."""
    wrong = np.flatnonzero((labels < 0) | (labels >= len(CLASS_NAMES)))
    if wrong.size:
        raise UserError(
            f"{where}: record {wrong[0]} has the label {labels[wrong[0]]} where 0 to "
            f"{len(CLASS_NAMES) - 1} are expected (records count from 0; {wrong.size} "
            f"of {labels.size} are wrong); {_FETCH}"
        )
    return labels.astype(np.int32)


def _listed(names: Iterable[str]) -> str:
    """Names out of a file, which may be long and have line breaks, for a message."""
    return repr(", ".join(names)[:200])[1:-1]


def _check_class_names(where: str, names: Sequence[str]) -> None:
    if tuple(names) != CLASS_NAMES:
        raise UserError(
            f"{where} names the classes {_listed(names)} where "
            f"{', '.join(CLASS_NAMES)} are expected; {_FETCH}"
        )


# ---- Batches: finding them ----


@dataclasses.dataclass(frozen=True)
class _Form:
    """A form whose pictures come in several files.

    Attributes:
        name: of the form, as its publisher calls it.
        folder: what its archive holds.
        pattern: matches the names of batches; the group is the number of a training
            batch.
        suffix: of the usual names, for messages.
        class_names: the file with the names of the classes, which may be absent.
        read: reads a batch.
        read_class_names: reads that file.
    """

    name: str
    folder: str
    pattern: str
    suffix: str
    class_names: str
    read: Callable[[str], Arrays]
    read_class_names: Callable[[str], Sequence[str]]


# The number of the test batch; those of training begin with 1.
_TEST = 0


def _find_batches(folder: str, form: _Form) -> dict[int, str]:
    """Finds the batches of a folder, by number, in their order."""
    if not tf.io.gfile.isdir(folder):
        return {}
    found: dict[int, str] = {}
    # A plain file comes before the same one gzipped, and is taken.
    for name in sorted(tf.io.gfile.listdir(folder)):
        match = re.fullmatch(form.pattern, name)
        path = tf.io.gfile.join(folder, name)
        # Some archives unpack each file into a folder called like the file.
        if not match or tf.io.gfile.isdir(path):
            continue
        number = int(match[1] or _TEST)
        first = found.setdefault(number, path)
        if path not in (first, f"{first}.gz"):
            raise UserError(
                f"{first} and {path} are both the same batch of the data set cifar10; "
                "leave one of them there"
            )
    return dict(sorted(found.items()))


def _read_batches(folder: str, batches: dict[int, str], form: _Form) -> _Found:
    missing = next(number for number in itertools.count() if number not in batches)
    if missing < max(len(batches), 2):
        name = "test_batch" if missing == _TEST else f"data_batch_{missing}"
        raise UserError(
            f"{folder} lacks {name}{form.suffix} of the data set cifar10, though "
            f"{os.path.basename(batches[max(batches)])} is there; put it there too"
        )
    for suffix in ("", ".gz"):
        path = tf.io.gfile.join(folder, form.class_names + suffix)
        if tf.io.gfile.exists(path):
            _check_class_names(path, form.read_class_names(path))
    test, *training = map(form.read, batches.values())
    source = f"{form.name} version, {len(training)} training and 1 test file"
    return f"{source} in {folder}", _join(training), test


# ---- Binary batches ----

RECORD_BYTES = 1 + NUM_PIXELS


def _read_binary(path: str) -> Arrays:
    content = files.read_bytes(path, MAX_FILE_BYTES)
    num_records, rest = divmod(len(content), RECORD_BYTES)
    if rest:
        raise UserError(
            f"{path} has {len(content)} bytes, no multiple of the {RECORD_BYTES} of a "
            f"record: {rest} are there of record {num_records} (records count from "
            f"0); it is cut or too long; {_FETCH}"
        )
    records = np.frombuffer(content, np.uint8).reshape(num_records, RECORD_BYTES)
    return Arrays(_images(records[:, 1:]), _checked_labels(path, records[:, 0]))


def _read_binary_class_names(path: str) -> list[str]:
    return files.read_bytes(path, MAX_FILE_BYTES).decode(errors="replace").split()


# ---- Python batches ----


def _read_python(path: str) -> Arrays:
    batch = _unpickle(path)
    pixels, labels = _entry(path, batch, "data"), _entry(path, batch, "labels")
    if not isinstance(pixels, _PickledArray) or pixels.values is None:
        raise UserError(f"{path} has no array as its entry data; {_FETCH}")
    values = pixels.values
    if values.shape[1] != NUM_PIXELS or not len(values):
        raise UserError(
            f"{path} has an entry data of shape {list(values.shape)} where "
            f"[N, {NUM_PIXELS}] is expected; {_FETCH}"
        )
    if not isinstance(labels, list):
        raise UserError(f"{path} has no list as its entry labels; {_FETCH}")
    for record, label in enumerate(labels):
        # Also what an int64 cannot hold; True is no label.
        if type(label) is not int or not 0 <= label < len(CLASS_NAMES):
            what = repr(label)[:20] if type(label) is int else type(label).__name__
            raise UserError(
                f"{path}: record {record} has the label {what} where 0 to "
                f"{len(CLASS_NAMES) - 1} are expected (records count from 0); {_FETCH}"
            )
    if len(labels) != len(values):
        raise UserError(
            f"{path} has {len(values)} images but {len(labels)} labels; {_FETCH}"
        )
    return Arrays(_images(values), np.array(labels, np.int32))


def _read_python_class_names(path: str) -> list[str]:
    names = _entry(path, _unpickle(path), "label_names")
    if not isinstance(names, list):
        raise UserError(f"{path} has no list as its entry label_names; {_FETCH}")
    try:
        return [_text(name) for name in names]
    except ValueError as error:
        raise UserError(f"{path}: {error} as a class's name; {_FETCH}") from None


def _entry(path: str, batch: dict[str, Any], name: str) -> Any:
    if name not in batch:
        raise UserError(
            f"{path} lacks the entry {name} of a batch of CIFAR-10; it has "
            f"{_listed(batch) or 'none'}; {_FETCH}"
        )
    return batch[name]


# ---- Pickles ----

# A pickle is a program, and `pickle.Unpickler` runs it. What it may name can be
# restricted, but not what it does with tuples, dicts and memory: a hundred bytes are
# enough to keep it busy for years, nine for it to take 60 GB, and tuples nested deep
# enough, as the key of a dict, crash the process. So the few instructions that a batch
# consists of are run here, in time and memory bounded by the file's size.

# An original batch of 10,000 takes 30,000 of them, one that Python 3 wrote in an old
# protocol 120,000. None makes a large object, but from bytes of the file.
MAX_INSTRUCTIONS = 1 << 20

# What a pickle may name. NumPy's functions are never called: `_Machine._call` does what
# they would do for an array of bytes.
_NAMES = {
    f"{module} {name}": name
    for name, modules in {
        "ndarray": ["numpy"],
        "dtype": ["numpy"],
        "_reconstruct": ["numpy.core.multiarray", "numpy._core.multiarray"],
        "_frombuffer": ["numpy.core.numeric", "numpy._core.numeric"],
        # How Python 3 writes bytes in the protocols of Python 2.
        "encode": ["_codecs"],
        "bytes": ["__builtin__", "builtins"],
    }.items()
    for module in modules
}


@dataclasses.dataclass(frozen=True)
class _Name:
    """Something of `_NAMES`, or the one dtype, `uint8`."""

    name: str


_UINT8 = _Name("uint8")


@dataclasses.dataclass(eq=False)
class _PickledArray:
    """An array of a pickle; it gets its values, uint8, when its state comes."""

    values: np.ndarray | None = None


def _unpickle(path: str) -> dict[str, Any]:
    """Reads the pickle of a dict.

    Args:
        path: the file, plain or gzipped; of any protocol, by Python 2 or 3.

    Returns:
        Its entries; keys are text, arrays are `_PickledArray`.

    Raises:
        UserError: the file cannot be read, is no pickle, or one that does what reading
            a batch does not need.
    """
    content = files.read_bytes(path, MAX_FILE_BYTES)
    try:
        value = _Machine(content).run()
    except UserError as error:
        raise UserError(f"{path} {error}") from None
    # Of the machine and of `pickletools`, for what is no pickle or a damaged one.
    except (ValueError, LookupError) as error:
        raise UserError(
            f"{path} is no pickle of a batch, or damaged ({one_line(error)}); {_FETCH}"
        ) from None
    if not isinstance(value, dict):
        raise UserError(
            f"{path} holds a {type(value).__name__} where a dict is expected; {_FETCH}"
        )
    return value


def _refusal(what: str) -> UserError:
    return UserError(
        f"{what}, which no batch of CIFAR-10 needs: it is not read, for safety; check "
        "where it comes from"
    )


def _text(value: Any) -> str:
    """Text of Python 3, or bytes, which Python 2's text is."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} in place of text")
    return value


class _Machine:
    """Runs a pickle; what goes wrong is a ValueError, LookupError or UserError.

    Nothing is hashed, compared or printed that the pickle may have nested: that takes
    exponential time or the whole stack.
    """

    def __init__(self, content: bytes):
        self._content = content
        self._stack: list[Any] = []
        # Heights of the stack.
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        # Text that becomes bytes stands in the file, each once.
        self._bytes_to_encode = len(content)

    def run(self) -> Any:
        end = 0
        for count, instruction in enumerate(pickletools.genops(self._content)):
            if count >= MAX_INSTRUCTIONS:
                raise _refusal(f"has more than {MAX_INSTRUCTIONS} instructions")
            opcode, argument, position = instruction
            self._execute(opcode.name, argument)
            end = position + 1
        if end != len(self._content):
            raise ValueError(f"it is too long by {len(self._content) - end} bytes")
        (value,) = self._stack
        return value

    def _execute(self, opcode: str, argument: Any) -> None:
        stack = self._stack
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self._marks.append(len(stack))
            # ---- values ----
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode == "NEWTRUE")
            case "INT" | "BININT" | "BININT1" | "BININT2" | "LONG" | "LONG1":
                stack.append(argument)
            case "STRING" | "BINSTRING" | "SHORT_BINSTRING":  # Of Python 2.
                stack.append(argument.encode("latin-1"))
            case "UNICODE" | "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                stack.append(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                stack.append(argument)
            # ---- collections ----
            case "EMPTY_LIST":
                stack.append([])
            case "LIST":
                stack.append(self._pop_to_mark())
            case "APPEND":
                self._extend([stack.pop()])
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                items = self._pop_to_mark()
                stack.append({})
                self._update(items)
            case "SETITEM":
                self._update([stack.pop(-2), stack.pop()])
            case "SETITEMS":
                self._update(self._pop_to_mark())
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(opcode[-1]))]
                stack.append(tuple(reversed(items)))
            # ---- the memo ----
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            # ---- names and calls ----
            case "GLOBAL":
                stack.append(self._find(argument))
            case "STACK_GLOBAL":
                module, name = _text(stack.pop(-2)), _text(stack.pop())
                stack.append(self._find(f"{module} {name}"))
            case "REDUCE":
                stack.append(self._call(stack.pop(-2), stack.pop()))
            case "BUILD":
                self._build(stack.pop())
            case _:
                raise _refusal(f"uses the instruction {opcode} of pickles")

    def _pop_to_mark(self) -> list[Any]:
        height = self._marks.pop()
        items = self._stack[height:]
        del self._stack[height:]
        return items

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise ValueError(f"{type(target).__name__} in place of a list")
        target.extend(items)

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise ValueError(f"{type(target).__name__} in place of a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_text(key)] = value

    def _find(self, name: str) -> _Name:
        if name not in _NAMES:
            raise _refusal(f"names {name.replace(' ', '.')[:100]!r}")
        return _Name(_NAMES[name])

    def _call(self, function: Any, arguments: Any) -> Any:
        match function, arguments:
            case _Name("encode"), (str() as text, "latin1"):
                self._bytes_to_encode -= len(text)
                if self._bytes_to_encode < 0:
                    raise _refusal("unpacks to more than its own size")
                return text.encode("latin-1")
            case _Name("bytes"), ():
                return b""
            case _Name("dtype"), ("u1" | b"u1", *_):
                return _UINT8
            case _Name("dtype"), (str() | bytes() as code, *_):
                raise UserError(
                    f"holds an array of dtype {_text(code)[:20]!r} where 'u1' (uint8) "
                    f"is expected; {_FETCH}"
                )
            case _Name("_reconstruct"), (_Name("ndarray"), *_):
                return _PickledArray()
            case _Name("_frombuffer"), (values, dtype, shape, "C" | "F" as order):
                return _PickledArray(_array(values, dtype, shape, order))
        name = function.name if isinstance(function, _Name) else "what is no function"
        raise _refusal(f"calls {name!r} in another way")

    def _build(self, state: Any) -> None:
        match self._stack[-1], state:
            case _Name("uint8"), tuple():
                pass  # Byte order and alignment, which bytes do not have.
            case _PickledArray() as array, (_, shape, dtype, is_fortran, values):
                order = "F" if is_fortran is True else "C"
                array.values = _array(values, dtype, shape, order)
            case _:
                raise _refusal("sets the state of what is no array")


def _array(values: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """An array over bytes of the pickle.

    Args:
        values: the bytes.
        dtype: `_UINT8`.
        shape: a tuple of two sizes.
        order: "C" or "F": which dimension is the inner one.

    Returns:
        uint8 [*shape], a view.

    Raises:
        ValueError: they are not that, or do not fit.
    """
    if not isinstance(values, bytes | bytearray) or dtype is not _UINT8:
        raise ValueError("an array that is not of bytes")
    if not isinstance(shape, tuple) or list(map(type, shape)) != [int, int]:
        raise ValueError("an array that has not two dimensions")
    if min(shape) < 0 or shape[0] * shape[1] != len(values):
        raise ValueError(f"an array of another size than its {len(values)} bytes")
    return np.frombuffer(values, np.uint8).reshape(shape, order=order)


_FORMS = (
    _Form(
        name="binary",
        folder="cifar-10-batches-bin",
        pattern=r"(?:data_batch_([1-9]\d*)|test_batch)(?:\D.*)?\.bin(?:\.gz)?",
        suffix=".bin",
        class_names="batches.meta.txt",
        read=_read_binary,
        read_class_names=_read_binary_class_names,
    ),
    _Form(
        name="python",
        folder="cifar-10-batches-py",
        pattern=r"(?:data_batch_([1-9]\d*)|test_batch)(?:\.gz)?",
        suffix="",
        class_names="batches.meta",
        read=_read_python,
        read_class_names=_read_python_class_names,
    ),
)


# ---- TFDS ----


def _read_tfds(folder: str) -> _Found:
    train, test = (tfds.open_split(folder, name) for name in ("train", "test"))
    if train.name.split()[0] != "cifar10":
        raise UserError(
            f"{folder} holds the set {train.name} where cifar10 is expected; give the "
            "folder of that"
        )
    spec = train.features.get_tensor_spec()
    image_spec = tf.TensorSpec([IMAGE_SIZE, IMAGE_SIZE, 3], tf.uint8)
    if spec.get("image") != image_spec or "label" not in spec:
        raise UserError(
            f"{folder} does not hold an image, uint8 {image_spec.shape.as_list()}, and "
            "a label in each record; prepare the set again"
        )
    _check_class_names(folder, getattr(train.features["label"], "names", ()))
    parts = [_read_split(folder, split) for split in (train, test)]
    return f"records of TFDS ({train.name}) in {folder}", *parts


def _read_split(folder: str, split: tfds.TfdsSplit) -> Arrays:
    records = record_files.read(list(split.files.paths), split.files.compression)
    batches = []
    try:
        for batch in records.batch(1000).map(split.parse).as_numpy_iterator():
            batches.append(Arrays(batch["image"], batch["label"]))
    except tf.errors.OpError as error:
        raise split.files.explain(error, split.parse) or error from None
    part = _join(batches)
    where = f"{folder} ({os.path.basename(split.files.paths[0])} ...)"
    return Arrays(part.images, _checked_labels(where, part.labels))


# ---- Archives ----


@dataclasses.dataclass(frozen=True)
class Archive:
    """An archive of the publisher.

    Attributes:
        remote: where it is.
        folder: the one folder that it holds.
    """

    remote: RemoteFile
    folder: str


def _archive(version: str, sha256: str, size_bytes: int, folder: str) -> Archive:
    name = f"cifar-10-{version}.tar.gz"
    url = f"https://www.cs.toronto.edu/~kriz/{name}"
    return Archive(RemoteFile(name, (url,), sha256, size_bytes), folder)


# The first is the one that is fetched.
ARCHIVES = (
    _archive(
        "python",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        170_498_071,
        "cifar-10-batches-py",
    ),
    _archive(
        "binary",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        170_052_171,
        "cifar-10-batches-bin",
    ),
)
# Eight files of 186 MB together.
MAX_ARCHIVE_FILES = 32


def _unpack_archive(data_dir: str) -> None:
    """Unpacks the archive that lies in the folder, or is fetched into it."""
    download.require_local(data_dir)
    present = [
        archive
        for archive in ARCHIVES
        if os.path.exists(os.path.join(data_dir, archive.remote.name))
    ]
    archive = (present or ARCHIVES)[0]
    target = os.path.join(data_dir, archive.folder)
    if os.path.lexists(target):
        raise UserError(
            f"{target} exists but has no batches, so that {archive.remote.name} cannot "
            "be unpacked there; delete or rename it"
        )
    path = download.fetch(archive.remote, data_dir)
    with writing(data_dir):
        scratch = tempfile.mkdtemp(
            prefix=f".{archive.folder}.", suffix=".unpacking", dir=data_dir
        )
    try:
        unpacked = os.path.join(scratch, "archive")
        archives.unpack(path, unpacked, MAX_FILE_BYTES, MAX_ARCHIVE_FILES)
        with writing(target):
            try:
                os.rename(os.path.join(unpacked, archive.folder), target)
            except OSError:
                # Another worker may have unpacked it meanwhile.
                if not os.path.isdir(target):
                    raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
