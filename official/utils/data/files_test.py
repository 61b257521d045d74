import gzip
import hashlib

import pytest
import tensorflow as tf

from official.utils.data import files
from official.utils.testing.errors import message_of


def write(path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def test_find_takes_the_first_name_that_is_there(tmp_path):
    second = write(tmp_path / "b", b"2")
    assert files.find(str(tmp_path), ["a", "b", "c"], "toy") == second
    first = write(tmp_path / "a", b"1")
    assert files.find(str(tmp_path), ["a", "b", "c"], "toy") == first


def test_find_passes_over_a_folder_of_the_name(tmp_path):
    (tmp_path / "a").mkdir()
    second = write(tmp_path / "b", b"2")
    assert files.find(str(tmp_path), ["a", "b"], "toy") == second


@pytest.mark.parametrize("data_dir", [None, ""])
def test_find_without_a_folder(data_dir):
    message = message_of(files.find, data_dir, ["a.gz", "a"], "toy")
    assert "toy needs --data_dir" in message
    assert "a.gz or a" in message


def test_find_in_a_missing_folder(tmp_path):
    folder = str(tmp_path / "missing")
    message = message_of(files.find, folder, ["a.gz"], "toy")
    assert f"--data_dir={folder} does not exist" in message
    assert "a.gz" in message


def test_find_in_a_file(tmp_path):
    path = write(tmp_path / "a.gz", b"1")
    message = message_of(files.find, path, ["a.gz"], "toy")
    assert f"--data_dir={path} is no folder" in message


def test_find_nothing(tmp_path):
    message = message_of(files.find, str(tmp_path), ["a.gz", "a"], "toy")
    assert f"--data_dir={tmp_path} holds no a.gz or a of the data set toy" in message


def test_find_on_an_unknown_file_system():
    message = message_of(files.find, "nosuchscheme://bucket", ["a"], "toy")
    assert "nosuchscheme://bucket" in message


def test_remote_file_system():
    # TensorFlow's in-memory file system stands for a bucket: only gfile can read it.
    folder = "ram://files_test"
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(f"{folder}/a.gz", "wb") as stream:
        stream.write(gzip.compress(b"abc", mtime=0))
    path = files.find(folder, ["a", "a.gz"], "toy")
    assert path == f"{folder}/a.gz"
    assert files.read_bytes(path) == b"abc"
    expected = hashlib.sha256(gzip.compress(b"abc", mtime=0)).hexdigest()
    assert files.sha256(path) == expected


def test_sha256_of_a_known_text(tmp_path):
    # The digest of "abc" is the first example of FIPS 180-2.
    path = write(tmp_path / "abc", b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(path) == expected
    files.verify(path, expected)
    files.verify(path, expected.upper())


def test_sha256_over_several_blocks(tmp_path):
    content = bytes(range(256)) * 10_000  # 2.4 blocks.
    path = write(tmp_path / "long", content)
    assert files.sha256(path) == hashlib.sha256(content).hexdigest()


def test_verify_names_file_and_both_digests(tmp_path):
    path = write(tmp_path / "abc", b"abd")
    message = message_of(files.verify, path, "ba78")
    assert path in message
    assert hashlib.sha256(b"abd").hexdigest() in message
    assert "ba78" in message
    assert "fetch it again" in message


def test_read_bytes_plain_and_gzipped_under_any_name(tmp_path):
    content = b"\x00\x01" * 1_000_000  # Two blocks.
    assert files.read_bytes(write(tmp_path / "plain.gz", content)) == content
    packed = write(tmp_path / "packed", gzip.compress(content))
    assert files.read_bytes(packed) == content


def test_read_bytes_of_two_gzip_members(tmp_path):
    path = write(tmp_path / "two.gz", gzip.compress(b"ab") + gzip.compress(b"cd"))
    assert files.read_bytes(path) == b"abcd"


@pytest.mark.parametrize("call", [files.read_bytes, files.sha256])
def test_missing_file(tmp_path, call):
    path = str(tmp_path / "missing")
    assert f"{path} does not exist" in message_of(call, path)


@pytest.mark.parametrize("call", [files.read_bytes, files.sha256])
def test_folder_in_place_of_a_file(tmp_path, call):
    assert f"{tmp_path} cannot be read" in message_of(call, str(tmp_path))


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0)])
def test_empty_file(tmp_path, content):
    path = write(tmp_path / "empty", content)
    assert message_of(files.read_bytes, path).startswith(f"{path} is empty")


@pytest.mark.parametrize("kept_bytes", [2, 9, 20, -1])
def test_truncated_gzip(tmp_path, kept_bytes):
    packed = gzip.compress(bytes(range(256)))[:kept_bytes]
    path = write(tmp_path / "cut.gz", packed)
    message = message_of(files.read_bytes, path)
    assert f"{path} is a gzip file that ends too early" in message
    assert f"({len(packed)} bytes" in message
    assert "fetch it again" in message


def damaged(offset: int) -> bytes:
    packed = bytearray(gzip.compress(bytes(range(256)), mtime=0))
    packed[offset] ^= 0xFF
    return bytes(packed)


# Offset 2 is the method, 10 the first byte of the deflate stream, -8 of the checksum.
@pytest.mark.parametrize("offset", [2, 10, -8])
def test_damaged_gzip(tmp_path, offset):
    path = write(tmp_path / "bad.gz", damaged(offset))
    message = message_of(files.read_bytes, path)
    assert f"{path} is a damaged gzip file" in message
    assert "fetch it again" in message


def test_bytes_after_a_gzip_are_damage(tmp_path):
    path = write(tmp_path / "tail.gz", gzip.compress(b"ab") + b"tail")
    assert f"{path} is a damaged gzip file" in message_of(files.read_bytes, path)


def test_max_bytes(tmp_path):
    plain = write(tmp_path / "plain", b"12345")
    assert files.read_bytes(plain, max_bytes=5) == b"12345"
    message = message_of(files.read_bytes, plain, max_bytes=4)
    assert f"{plain} has 5 bytes where at most 4" in message

    bomb = write(tmp_path / "bomb.gz", gzip.compress(bytes(1 << 22)))
    assert len(files.read_bytes(bomb, max_bytes=1 << 22)) == 1 << 22
    message = message_of(files.read_bytes, bomb, max_bytes=(1 << 22) - 1)
    assert f"{bomb} unpacks to more than the 4194303 bytes" in message
