"""Reads JSON files of the user's, and says in a line what is wrong with them."""

import json
from collections.abc import Mapping
from typing import Any

from official.utils.data import files
from official.utils.errors import UserError
from official.utils.logs import files as log_files

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_KINDS: Mapping[type, str] = {
    str: "a string",
    list: "an array",
    int: "a whole number",
    bool: "true or false",
}


def read(path: str, remedy: str) -> object:
    """Reads a file, maybe gzipped.

    Args:
        path: the file.
        remedy: what the user can do when it is no JSON.

    Returns:
        What it holds.

    Raises:
        UserError: it cannot be read, is empty, or is no JSON in UTF-8.
    """
    return _parsed(path, files.read_bytes(path), remedy)


def _parsed(path: str, content: bytes, remedy: str) -> object:
    content = content.removeprefix(_BYTE_ORDER_MARK)
    try:
        return json.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: line {line} is not UTF-8 ({error.reason}); convert the file"
        ) from None
    # ValueError: also a number of too many digits.
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); {remedy}") from None


def read_object(path: str, remedy: str) -> dict[str, Any]:
    """Reads a file of settings, which holds one object.

    Args:
        path: the file.
        remedy: what the user can do where there is none.

    Raises:
        UserError: there is none, or it is no JSON object.
    """
    found = _parsed(path, log_files.read_whole(path, "settings", remedy), remedy)
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no JSON object; {remedy}")
    return found


def field(
    where: str,
    entry: object,
    name: str,
    kind: type,
    remedy: str,
    default: object = None,
):
    """Takes a field out of a JSON object.

    Args:
        where: the object's place, for the message.
        entry: what JSON gives for it.
        name: of the field.
        kind: what it must be: str, list, int or bool.
        remedy: what the user can do.
        default: what it is when it is not there; without one it must be there.

    Returns:
        A value of that kind.

    Raises:
        UserError: the field is missing or something else, or a string cannot be
            written in UTF-8.
    """
    if not isinstance(entry, dict):
        raise UserError(f"{where} is no JSON object; {remedy}")
    value = entry.get(name, default)
    if value is None:
        raise UserError(f"{where} lacks the field {name}; {remedy}")
    # No isinstance: True is an int.
    if type(value) is not kind:
        raise UserError(
            f"{where} has a field {name} that is not {_KINDS[kind]}; {remedy}"
        )
    if kind is str and not _is_text(value):
        raise UserError(
            f"{where} has half of a surrogate pair, which is no character, in the "
            f"field {name}; remove it"
        )
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
