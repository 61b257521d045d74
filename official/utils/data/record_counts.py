"""Counts the records of a TFRecord file by their headers, and checks these."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.utils.errors import UserError, one_line

DAMAGED = "delete it and write or fetch it again"
# A record: length (8 bytes), checksum of the length (4), the bytes, checksum (4).
_HEADER = struct.Struct("<QI")
_RECORD_OVERHEAD = 16
_BLOCK_BYTES = 4 << 20


def compression_of(path: str) -> str:
    """How a file is compressed, by its first bytes.

    Args:
        path: the file.

    Returns:
        "", "GZIP" or "ZLIB".

    Raises:
        UserError: the file is missing, empty or no TFRecord file.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as stream:
            head = stream.read(_HEADER.size)
    except tf.errors.OpError as error:
        raise UserError(
            f"{path} cannot be read ({one_line(error)}); check that it is a file and "
            "that you have the right to read it"
        ) from None
    if not head:
        raise UserError(f"{path} is empty; {DAMAGED}")
    # A length may begin with the bytes of a gzip file, so its checksum is asked first.
    if len(head) == _HEADER.size and not _wrong_headers([head]).size:
        return ""
    if head[:2] == b"\x1f\x8b":
        return "GZIP"
    # Deflate with a window of up to 32 KiB; the first two bytes are a multiple of 31.
    if head[0] & 0x8F == 8 and int.from_bytes(head[:2], "big") % 31 == 0:
        return "ZLIB"
    raise UserError(f"{path} is no TFRecord file, or record 0 is damaged; {DAMAGED}")


def count_records(path: str, compression: str) -> tuple[int, int]:
    """Counts the records of a file by their headers.

    Args:
        path: the file.
        compression: "", "GZIP" or "ZLIB".

    Returns:
        The number of records, and the bytes that they hold.

    Raises:
        UserError: the file is truncated or a header is damaged.
    """
    blocks = _unpacked(path) if compression else _blocks(path)
    headers, num_bytes, position, end = [], 0, 0, 0
    next(blocks)
    while True:
        # The block that holds the header at `position`.
        try:
            start, block = blocks.send(position)
        except StopIteration:
            break
        except (tf.errors.OpError, zlib.error) as error:
            raise UserError(
                f"{path} is damaged at record {len(headers)} ({one_line(error)}); "
                f"{DAMAGED}"
            ) from None
        end = max(end, start + len(block))
        at, last = position - start, len(block) - _HEADER.size
        while at <= last:
            headers.append(block[at : at + 12])
            length = _HEADER.unpack_from(block, at)[0]
            num_bytes += length
            at += length + _RECORD_OVERHEAD
        position = start + at
    wrong = _wrong_headers(headers)
    if wrong.size:
        raise UserError(
            f"{path}: record {wrong[0]} is damaged (its length does not have the "
            f"checksum that stands beside it; records count from 0); {DAMAGED}"
        )
    if position != end:
        # The last record, or the header of one more.
        number = len(headers) - (position > end)
        raise UserError(
            f"{path} is truncated: it ends within record {number} (records count from "
            f"0), after {end} bytes{' of what it unpacks to' if compression else ''}; "
            f"{DAMAGED}"
        )
    return len(headers), num_bytes


def _blocks(path: str) -> Iterator[Any]:
    """Gives the bytes from a position that is sent on; passes over long records."""
    with tf.io.gfile.GFile(path, "rb") as stream:
        size = stream.size()
        position = yield
        while position < size:
            stream.seek(position)
            block = stream.read(_BLOCK_BYTES)
            if len(block) < _HEADER.size:
                # No header is in there: it only says where the file ends.
                yield position, block
                return
            sent = yield position, block
            if sent >= size:
                # Past the end, or at it.
                yield size, b""
                return
            position = sent


def _unpacked(path: str) -> Iterator[Any]:
    """As `_blocks`, of a compressed file."""
    # 32: gzip or zlib, by the first bytes.
    unpack = zlib.decompressobj(32 + zlib.MAX_WBITS)
    position = yield
    start, rest = 0, b""
    with tf.io.gfile.GFile(path, "rb") as stream:
        while packed := stream.read(_BLOCK_BYTES):
            while packed:
                block = rest + unpack.decompress(packed, _BLOCK_BYTES)
                packed = unpack.unconsumed_tail
                position = yield start, block
                kept = min(max(position - start, 0), len(block))
                start, rest = start + kept, block[kept:]
    if not unpack.eof:
        raise zlib.error("the compressed bytes end too early")


def _crc_table() -> np.ndarray:
    """CRC-32C of each byte (Castagnoli; the polynomial with its bits reversed)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ (np.uint32(0x82F63B78) * (table & 1))
    return table


def _wrong_headers(headers: Sequence[bytes]) -> np.ndarray:
    """Numbers of the headers whose length does not have its checksum."""
    if not headers:
        return np.zeros([0], np.int64)
    table = _crc_table()
    rows = np.frombuffer(b"".join(headers), np.uint8).reshape(-1, _HEADER.size)
    crc = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in rows[:, :8].T:
        crc = table[(crc ^ column) & 0xFF] ^ (crc >> 8)
    crc = ~crc
    # TFRecord rotates the checksum and adds a number, modulo 2^32.
    masked = ((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8)
    return np.flatnonzero(masked != rows[:, 8:].copy().view("<u4")[:, 0])
