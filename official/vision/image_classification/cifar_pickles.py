"""Reads the pickles of CIFAR-10 without unpickling them.

A pickle is a program, and `pickle.Unpickler` runs it. What it may name can be
restricted, but not what it does with tuples, dicts and memory: a hundred bytes are
enough to keep it busy for years, nine for it to take 60 GB, and tuples nested deep
enough, as the key of a dict, crash the process. So the few instructions that a batch
consists of are run here, in time and memory bounded by the file's size.
"""

import dataclasses
import pickletools
from typing import Any

import numpy as np

from official.utils.data import files
from official.utils.errors import UserError, one_line

# An original file has 31 MB; all 60,000 pictures have 184.
MAX_FILE_BYTES = 1 << 28
FETCH = "delete it and fetch the original again"

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
class PickledArray:
    """An array of a pickle.

    Attributes:
        values: uint8, of two dimensions; None if the pickle gives no state to it.
    """

    values: np.ndarray | None = None


def read(path: str) -> dict[str, Any]:
    """Reads the pickle of a dict.

    Args:
        path: the file, plain or gzipped; of any protocol, by Python 2 or 3.

    Returns:
        Its entries; keys are text, arrays are `PickledArray`s.

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
            f"{path} is no pickle of a batch, or damaged ({one_line(error)}); {FETCH}"
        ) from None
    if not isinstance(value, dict):
        raise UserError(
            f"{path} holds a {type(value).__name__} where a dict is expected; {FETCH}"
        )
    return value


def _refusal(what: str) -> UserError:
    return UserError(
        f"{what}, which no batch of CIFAR-10 needs: it is not read, for safety; check "
        "where it comes from"
    )


def as_text(value: Any) -> str:
    """Text of Python 3, or bytes, which Python 2's text is.

    Args:
        value: what a pickle has in the place of text.

    Returns:
        The text.

    Raises:
        ValueError: it is neither.
    """
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
                module, name = as_text(stack.pop(-2)), as_text(stack.pop())
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
            target[as_text(key)] = value

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
                    f"holds an array of dtype {as_text(code)[:20]!r} where 'u1' "
                    f"(uint8) is expected; {FETCH}"
                )
            case _Name("_reconstruct"), (_Name("ndarray"), *_):
                return PickledArray()
            case _Name("_frombuffer"), (values, dtype, shape, "C" | "F" as order):
                return PickledArray(_array(values, dtype, shape, order))
        name = function.name if isinstance(function, _Name) else "what is no function"
        raise _refusal(f"calls {name!r} in another way")

    def _build(self, state: Any) -> None:
        match self._stack[-1], state:
            case _Name("uint8"), tuple():
                pass  # Byte order and alignment, which bytes do not have.
            case PickledArray() as array, (_, shape, dtype, is_fortran, values):
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
