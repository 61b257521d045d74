"""Vocabularies of word pieces: `vocab.txt`, a piece a line, whose number is its id."""

from collections.abc import Sequence

from official.utils.errors import UserError
from official.utils.logs.files import write_whole

# First in every vocabulary that is learnt here; published ones have them elsewhere.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# What begins a piece that is not the first of its word.
CONTINUATION = "##"
# What tensorflow-text takes, in UTF-8.
MAX_PIECE_BYTES = 256

# Published files have up to 10 MB.
_MAX_BYTES = 1 << 28
_REMEDY = "give the vocab.txt of a BERT network"


def read(path: str) -> list[str]:
    """Reads the pieces of a `vocab.txt`, plain or gzipped.

    Args:
        path: the file.

    Returns:
        The pieces, each at the place of its id.

    Raises:
        UserError: the file cannot be read, is empty or no UTF-8, lacks a special piece,
            or holds a piece twice or one that is too long.
    """
    from official.utils.data.files import read_bytes

    lines = read_bytes(path, _MAX_BYTES).split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    # A piece may be or hold any other white space.
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        piece = _piece(f"{path}: line {number}", line.removesuffix(b"\r"))
        first = numbers.setdefault(piece, number)
        if first != number:
            raise UserError(
                f"{path}: line {number} repeats {piece!r} of line {first}; {_REMEDY}"
            )
    missing = [piece for piece in SPECIAL if piece not in numbers]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; {_REMEDY}")
    return list(numbers)


def made_up(size: int) -> list[str]:
    """A vocabulary for measurements that read no text, of `size` pieces."""
    return [*SPECIAL, *(f"piece{number}" for number in range(len(SPECIAL), size))]


def _piece(where: str, line: bytes) -> str:
    if len(line) > MAX_PIECE_BYTES:
        raise UserError(
            f"{where} has {len(line)} bytes where at most {MAX_PIECE_BYTES} are "
            f"expected; {_REMEDY}"
        )
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise UserError(f"{where} is not UTF-8; {_REMEDY}") from None


def write(path: str, pieces: Sequence[str]) -> None:
    """Writes a `vocab.txt`; one that holds the same pieces stays.

    Args:
        path: the file.
        pieces: without line ends in them.

    Raises:
        UserError: there is another file, or it cannot be written.
    """
    import tensorflow as tf

    from official.utils.data.files import reading

    assert not any("\n" in piece or "\r" in piece for piece in pieces)
    content = "".join(f"{piece}\n" for piece in pieces).encode()
    if tf.io.gfile.exists(path):
        with reading(path), tf.io.gfile.GFile(path, "rb") as file:
            if file.read() == content:
                return
        raise UserError(f"{path} exists and is not overwritten; name another file")
    write_whole(path, content)
