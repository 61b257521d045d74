import bz2
import errno
import gzip
import io
import lzma
import os
import random
import stat
import tarfile
import tracemalloc
import zipfile

import pytest

from official.utils.data import archives
from official.utils.errors import UserError
from official.utils.testing.errors import message_of

MAX_BYTES = 10_000_000
FILES = {
    "read.me": b"of all\n",
    "data/train/a.bin": random.Random(0).randbytes(2_500_000),  # Three blocks.
    "data/empty": b"",
}
MEMBERS = tuple(FILES.items())
PACKERS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
TARS = [".tar" + suffix for suffix in PACKERS]


def member(name, kind=tarfile.REGTYPE, size=0, link="") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def tar(members) -> bytes:
    """A tar of `(name or TarInfo, content)`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, content in members:
            if isinstance(info, str):
                info = member(info, size=len(content))
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zip_of(members, method=zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of `(name or ZipInfo, content)`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def make(tmp_path, suffix, members=MEMBERS) -> str:
    """Writes an archive whose kind is that of `suffix`; returns its path."""
    if suffix == ".zip":
        content = zip_of(members)
    else:
        content = PACKERS[suffix.removeprefix(".tar")](tar(members))
    path = tmp_path / f"archive{suffix}"
    path.write_bytes(content)
    return str(path)


def refuse(path, tmp_path, **limits) -> str:
    """Unpacks what must be refused; nothing may be left, here or elsewhere."""
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    folder = str(tmp_path / "below" / "target")
    limits = {"max_bytes": MAX_BYTES, **limits}
    message = message_of(archives.unpack, path, folder, **limits)
    after = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert after == before
    if os.path.exists(tmp_path / "below"):
        assert os.listdir(tmp_path / "below") == []
    return message


# ---- The straight way ----


@pytest.mark.parametrize("suffix", [*TARS, ".zip"])
def test_unpack(tmp_path, suffix):
    path = make(tmp_path, suffix)
    folder = str(tmp_path / "new" / "target")
    before = os.umask(0o022)
    try:
        paths = archives.unpack(path, folder, MAX_BYTES)
    finally:
        os.umask(before)
    assert paths == [os.path.join(folder, name) for name in FILES]
    for file, content in zip(paths, FILES.values(), strict=True):
        with open(file, "rb") as stream:
            assert stream.read() == content
    assert os.listdir(tmp_path / "new") == ["target"]
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o755
    assert stat.S_IMODE(os.stat(paths[0]).st_mode) == 0o644


@pytest.mark.parametrize(
    "suffix, packer",
    [(".tgz", gzip), (".TAR.GZ", gzip), (".txz", lzma), (".tbz2", bz2), (".tbz", bz2)],
)
def test_other_suffixes(tmp_path, suffix, packer):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(packer.compress(tar([("a", b"1")])))
    paths = archives.unpack(str(path), str(tmp_path / "b"), 1)
    assert paths == [str(tmp_path / "b" / "a")]


def test_one_gzipped_file(tmp_path):
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(b"a,b\n"))
    paths = archives.unpack(
        str(tmp_path / "table.csv.gz"), str(tmp_path / "target") + "/", MAX_BYTES
    )
    assert paths == [str(tmp_path / "target" / "table.csv")]
    assert (tmp_path / "target" / "table.csv").read_bytes() == b"a,b\n"


def test_a_relative_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, ".zip", [("a", b"1")])
    assert archives.unpack("archive.zip", "b", 1) == ["b/a"]
    assert sorted(os.listdir()) == ["archive.zip", "b"]


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_some_of_the_files(tmp_path, suffix):
    path, folder = make(tmp_path, suffix), str(tmp_path / "target")
    names = ["a.bin", "not there"]
    found = archives.unpack(path, folder, MAX_BYTES, names=names)
    assert found == [f"{folder}/data/train/a.bin"]
    assert os.listdir(folder) == ["data"]
    message = message_of(
        archives.unpack, path, f"{folder}2", MAX_BYTES, names=["c", "b"]
    )
    assert message.startswith(f"{path} holds none of b, c; ")
    assert not os.path.exists(f"{folder}2")


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_folders_and_dots(tmp_path, suffix):
    members = [("./", b""), ("./empty/", b""), ("./a/./b", b"1"), ("..c/d..", b"2")]
    if suffix == ".tar":
        folders = [(member(name, tarfile.DIRTYPE), b"") for name in (".", "empty")]
        members = folders + members[2:]
    path = make(tmp_path, suffix, members)
    folder = tmp_path / "target"
    paths = archives.unpack(path, str(folder), MAX_BYTES)
    assert paths == [str(folder / "a" / "b"), str(folder / "..c" / "d..")]
    assert os.listdir(folder / "empty") == []


def test_limits_are_inclusive(tmp_path):
    path = make(tmp_path, ".tar.gz")
    size = sum(map(len, FILES.values()))
    archives.unpack(path, str(tmp_path / "a"), size, len(FILES))
    assert f"more than the {size - 1} bytes" in refuse(
        path, tmp_path, max_bytes=size - 1
    )
    assert "more than the 2 files" in refuse(path, tmp_path, max_files=2)


# ---- What an archive may try ----


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "a/..", "..", "..\\evil", "a\\..\\..\\evil"]
)
def test_paths_that_climb(tmp_path, suffix, name):
    path = make(tmp_path, suffix, [("good", b"1"), (name, b"2")])
    message = refuse(path, tmp_path)
    assert path in message and repr(name) in message and "with .." in message


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.parametrize("name", ["/evil", "//evil", "\\evil", "C:\\evil", "c:evil"])
def test_absolute_paths(tmp_path, suffix, name):
    path = make(tmp_path, suffix, [("good", b"1"), (name, b"2")])
    message = refuse(path, tmp_path)
    assert repr(name) in message and "an absolute path" in message


def test_an_absolute_path_to_a_file_of_ours(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    path = make(tmp_path, ".tar", [(str(mine), b"evil")])
    assert "an absolute path" in refuse(path, tmp_path)


@pytest.mark.parametrize(
    "kind, what",
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device"),
        (b"Z", "a device"),
    ],
    ids=["symlink", "hard link", "character device", "block device", "fifo", "unknown"],
)
def test_what_is_no_file_in_a_tar(tmp_path, kind, what):
    # A link out of the folder, then a file through it.
    members = [(member("a", kind, link=str(tmp_path)), b""), ("a/evil", b"2")]
    message = refuse(make(tmp_path, ".tar.gz", members), tmp_path)
    # tarfile takes an unknown kind for a file; then the folder is in its place.
    if kind != b"Z":
        assert f"the member 'a', {what}" in message


@pytest.mark.parametrize(
    "mode, what", [(stat.S_IFLNK, "a link"), (stat.S_IFIFO, "a device")]
)
def test_what_is_no_file_in_a_zip(tmp_path, mode, what):
    info = zipfile.ZipInfo("a")
    info.create_system = 3  # Unix
    info.external_attr = (mode | 0o777) << 16
    path = make(tmp_path, ".zip", [(info, b"/etc"), ("a/evil", b"2")])
    assert f"the member 'a', {what}" in refuse(path, tmp_path)


@pytest.mark.parametrize("suffix", [*TARS[1:], ".zip"])
def test_a_bomb(tmp_path, suffix):
    path = make(tmp_path, suffix, [("zeros", bytes(30_000_000))])
    assert os.path.getsize(path) < 100_000
    message = refuse(path, tmp_path)
    assert f"{path} unpacks to more than the {MAX_BYTES} bytes" in message


def test_a_bomb_in_one_gzipped_file(tmp_path):
    path = tmp_path / "zeros.gz"
    path.write_bytes(gzip.compress(bytes(30_000_000)))
    assert "unpacks to more than" in refuse(str(path), tmp_path)


def test_many_small_files_are_a_bomb_too(tmp_path):
    members = [(f"{index}/", b"") for index in range(200)]
    path = make(tmp_path, ".zip", members)
    assert "more than the 100 files" in refuse(path, tmp_path, max_files=100)
    folders = [(member(name, tarfile.DIRTYPE), b"") for name, _ in members]
    path = make(tmp_path, ".tar.gz", folders)
    assert "more than the 100 files" in refuse(path, tmp_path, max_files=100)


def test_a_zip_that_lies_about_its_sizes(tmp_path):
    content = zip_of([("zeros", bytes(30_000_000))])
    size = (30_000_000).to_bytes(4, "little")
    assert content.count(size) == 2
    path = tmp_path / "lie.zip"
    path.write_bytes(content.replace(size, (1000).to_bytes(4, "little")))
    assert "cannot be unpacked" in refuse(str(path), tmp_path)


def test_files_that_share_their_bytes(tmp_path):
    # The directory names one packed file many times, as in D. Fifield's zip bomb.
    content = zip_of([("aa", bytes(3_000_000))])
    start = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    entry = content[start:end]
    tail = bytearray(content[end:])
    tail[8:12] = (100).to_bytes(2, "little") * 2
    tail[12:16] = (100 * len(entry)).to_bytes(4, "little")
    path = tmp_path / "overlap.zip"
    path.write_bytes(content[:start] + entry * 100 + bytes(tail))
    refuse(str(path), tmp_path)


def test_a_long_name_that_would_fill_the_memory(tmp_path):
    # A tar's name may be as long as a file, and is read in one go.
    name = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=300_000_000)
    header = name.tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "name.tar.xz"
    with lzma.open(path, "wb", preset=0) as stream:
        stream.write(header)
        for _ in range(300):
            stream.write(b"a" * 1_000_000)
        stream.write(tar([("a", b"1")]))
    tracemalloc.start()
    try:
        refuse(str(path), tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_a_sparse_file_is_counted_in_full(tmp_path):
    # 4 bytes that stand for 1 GB, in the GNU format of 1.0.
    pax = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "sparse",
        "GNU.sparse.realsize": "1000000000",
    }
    data = b"1\n999999996\n4\n".ljust(512, b"\0") + b"abcd"
    info = member("GNUSparseFile.0/sparse", size=len(data))
    info.pax_headers = pax
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(data))
    path = tmp_path / "sparse.tar"
    path.write_bytes(stream.getvalue())
    assert "unpacks to more than" in refuse(str(path), tmp_path)


def test_zeros_after_the_end_are_a_bomb_too(tmp_path):
    path = tmp_path / "tail.tar.gz"
    path.write_bytes(gzip.compress(tar([("a", b"1")]) + bytes(30_000_000)))
    message = refuse(str(path), tmp_path, max_bytes=100, max_files=3)
    assert "unpacks to more than" in message


def test_folders_in_folders(tmp_path):
    for suffix in (".tar", ".zip"):
        path = make(tmp_path, suffix, [("a/" * 65 + "b", b"1")])
        assert "more than 64 folders deep" in refuse(path, tmp_path)


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice(tmp_path, suffix):
    path = make(tmp_path, suffix, [("a", b"1"), ("a", b"2")])
    message = refuse(path, tmp_path)
    assert f"{tmp_path}/below/target/a cannot be written" in message
    assert "File exists" in message


def test_a_line_break_in_a_name(tmp_path):
    path = make(tmp_path, ".tar", [("../a\nb", b"1")])
    assert repr("../a\nb") in refuse(path, tmp_path)


# ---- Damage ----


@pytest.mark.parametrize("suffix", [*TARS, ".zip"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.9999])
def test_truncated(tmp_path, suffix, kept):
    path = make(tmp_path, suffix)
    with open(path, "r+b") as stream:
        stream.truncate(int(kept * os.path.getsize(path)))
    if suffix == ".tar" and kept == 0.9999:
        # tar ends with empty blocks; most of them may be missing.
        assert archives.unpack(path, str(tmp_path / "a"), MAX_BYTES)
        return
    message = refuse(path, tmp_path)
    assert path in message and "delete it and fetch it again" in message


def test_a_tar_that_ends_between_two_files(tmp_path):
    content = tar([("a", b"1"), ("b", b"2")])
    path = tmp_path / "cut.tar"
    path.write_bytes(content[:1024])
    assert "ends too early" in refuse(str(path), tmp_path)
    # The second header is damaged: tarfile alone would take that for the end.
    path.write_bytes(content[:1024] + b"x" * 512 + content[1536:])
    assert "ends too early" in refuse(str(path), tmp_path)


@pytest.mark.parametrize("suffix", [*TARS[1:], ".zip"])
def test_damaged(tmp_path, suffix):
    path = make(tmp_path, suffix)
    with open(path, "rb") as stream:
        content = bytearray(stream.read())
    content[len(content) // 2] ^= 0xFF
    with open(path, "wb") as stream:
        stream.write(content)
    message = refuse(path, tmp_path)
    assert path in message and "delete it and fetch it again" in message


def test_a_checksum_at_the_end_counts(tmp_path):
    path = tmp_path / "a.tar.gz"
    content = bytearray(gzip.compress(tar([("a", b"1")])))
    content[-6] ^= 1
    path.write_bytes(content)
    assert "CRC" in refuse(str(path), tmp_path)


@pytest.mark.parametrize("suffix", [*TARS, ".zip", ".gz"])
def test_noise_is_no_archive(tmp_path, suffix):
    generator = random.Random(3)
    for size in (1, 100, 5000):
        path = tmp_path / f"noise{suffix}"
        path.write_bytes(generator.randbytes(size))
        assert str(path) in refuse(str(path), tmp_path)


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_single_wrong_bytes_never_show_a_traceback(tmp_path, suffix):
    members = [("a", b"12"), ("b/c", b"3" * 600)]
    content = zip_of(members) if suffix == ".zip" else tar(members)[:3072]
    generator = random.Random(4)
    for attempt in range(200):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path = tmp_path / f"a{suffix}"
        path.write_bytes(damaged)
        folder = tmp_path / str(attempt)
        try:
            archives.unpack(str(path), str(folder), 10_000)
        except UserError as error:
            assert "\n" not in str(error)
            assert not folder.exists()


def test_an_encrypted_zip(tmp_path):
    content = bytearray(zip_of([("a", b"1")]))
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path = tmp_path / "secret.zip"
    path.write_bytes(content)
    message = refuse(str(path), tmp_path)
    assert f"{path} is encrypted" in message and "unpack it yourself" in message


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_rare_method_of_zip(tmp_path, method):
    path = tmp_path / "rare.zip"
    path.write_bytes(zip_of([("a", b"1")], method))
    assert f"by method {method}" in refuse(str(path), tmp_path)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_an_empty_archive(tmp_path, suffix):
    path = make(tmp_path, suffix, [])
    assert "holds no file" in refuse(path, tmp_path)


# ---- Folders ----


@pytest.mark.parametrize("name", ["a.rar", "a", "a.7z"])
def test_unknown_kind(tmp_path, name):
    (tmp_path / name).write_bytes(b"1")
    message = refuse(str(tmp_path / name), tmp_path)
    assert f"{tmp_path}/{name} is no archive of a known kind" in message
    assert ".tar.gz" in message and ".zip" in message


def test_missing_archive(tmp_path):
    assert "is no file" in refuse(str(tmp_path / "missing.zip"), tmp_path)
    assert "is no file" in refuse(str(tmp_path), tmp_path)


def test_a_target_that_exists(tmp_path):
    path = make(tmp_path, ".zip", [("a", b"1")])
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    os.symlink("nowhere", tmp_path / "link")
    for name in ("folder", "folder/", "file", "link"):
        target = str(tmp_path / name)
        message = message_of(archives.unpack, path, target, MAX_BYTES)
        assert f"{target.rstrip('/')} exists" in message
    assert os.listdir(tmp_path / "folder") == []
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_takes_no_files(tmp_path):
    path = make(tmp_path, ".zip", [("a", b"1")])
    # The superuser, too, cannot write here.
    message = message_of(archives.unpack, path, "/proc/target", MAX_BYTES)
    assert "/proc/target cannot be written" in message


def test_a_full_disk(tmp_path, monkeypatch):
    class FullDisk(io.FileIO):
        def write(self, block):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_(path, mode="r"):
        return FullDisk(path, mode) if mode == "xb" else open(path, mode)

    path = make(tmp_path, ".tar.gz")
    monkeypatch.setattr(archives, "open", open_, raising=False)
    message = refuse(path, tmp_path)
    assert f"{tmp_path}/below/target/read.me cannot be written" in message
    assert "No space left on device" in message


def test_folders_that_are_elsewhere(tmp_path):
    path = make(tmp_path, ".zip", [("a", b"1")])
    for arguments in ((path, "gs://bucket/a"), ("gs://bucket/a.zip", "a")):
        message = message_of(archives.unpack, *arguments, MAX_BYTES)
        assert "is not on this machine" in message


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    path = make(tmp_path, ".tar.gz")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", interrupt)
        with pytest.raises(KeyboardInterrupt):
            archives.unpack(path, str(tmp_path / "a"), MAX_BYTES)
    assert os.listdir(tmp_path) == ["archive.tar.gz"]
