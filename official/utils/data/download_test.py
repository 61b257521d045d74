import email.utils
import errno
import hashlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from official.utils.data import download, download_part
from official.utils.data.download import Patience, RemoteFile
from official.utils.logs import console
from official.utils.testing import http_server
from official.utils.testing.data import PROJECT_ROOT
from official.utils.testing.errors import message_of
from official.utils.testing.http_server import Answer

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
# A busy machine may be slow to answer: only tests of silence wait less.
QUICK = Patience(timeout_seconds=10, backoff_seconds=0.002, max_wait_seconds=2)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    console.reset_warnings()


@pytest.fixture
def server():
    with http_server.serve() as running:
        yield running


def remote_file(*urls, content=CONTENT) -> RemoteFile:
    digest = hashlib.sha256(content).hexdigest()
    return RemoteFile("data.bin", urls, digest, len(content))


def fetch(remote, folder) -> str:
    return download.fetch(remote, str(folder), QUICK)


def assert_fetched(path, folder) -> None:
    """The right file, and nothing beside it."""
    assert path == str(folder / "data.bin")
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert os.listdir(folder) == ["data.bin"]


# ---- The straight way ----


def test_fetch_once(server, tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    remote = remote_file(server.answer("a", Answer(CONTENT)))
    before = os.umask(0o022)
    try:
        assert_fetched(fetch(remote, folder), folder)
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "data.bin").stat().st_mode) == 0o644
    assert len(server.requests) == 1
    printed = capsys.readouterr()
    assert printed.out == "fetching data.bin (300,000 bytes)\n" and not printed.err


def test_a_file_that_is_there_needs_no_network(tmp_path):
    (tmp_path / "data.bin").write_bytes(CONTENT)
    remote = remote_file(http_server.unused_url())
    assert_fetched(fetch(remote, tmp_path), tmp_path)


@pytest.mark.parametrize(
    "content, fragment",
    [(CONTENT[:-1], "has 299999 bytes where 300000"), (OTHER, "has SHA-256")],
)
def test_another_file_is_never_replaced(tmp_path, content, fragment):
    (tmp_path / "data.bin").write_bytes(content)
    message = message_of(fetch, remote_file(http_server.unused_url()), tmp_path)
    assert f"{tmp_path}/data.bin {fragment}" in message
    assert "delete or rename it" in message
    assert (tmp_path / "data.bin").read_bytes() == content


def test_a_folder_of_that_name(tmp_path):
    (tmp_path / "data.bin").mkdir()
    message = message_of(fetch, remote_file(http_server.unused_url()), tmp_path)
    assert f"{tmp_path}/data.bin" in message and "delete or rename it" in message


@pytest.mark.parametrize("has_length", [True, False])
def test_body_with_and_without_length(server, tmp_path, has_length):
    answer = Answer(CONTENT, has_length=has_length)
    remote = remote_file(server.answer("a", answer))
    assert_fetched(fetch(remote, tmp_path), tmp_path)


def test_chunked_body(server, tmp_path):
    chunks = [CONTENT[start : start + 100_000] for start in (0, 100_000, 200_000)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    cut = Answer(raw=head + body[:150_000])
    whole = Answer(raw=head + body + b"0\r\n\r\n")
    remote = remote_file(server.answer("a", cut, whole))
    assert_fetched(fetch(remote, tmp_path), tmp_path)


def test_progress_on_a_terminal(server, tmp_path, monkeypatch, capsys):
    bars = []

    class Bar(console.SilentBar):
        position = 0

        def update(self, n=1):
            self.position += n

    def progress_bar(total, initial, description, unit, scale):
        bars.append((total, initial, description, unit, scale, Bar()))
        return bars[-1][-1]

    monkeypatch.setattr(console, "progress_bar", progress_bar)
    # The second answer starts over: the bar goes back.
    answers = Answer(CONTENT, cut_after=1000), Answer(CONTENT, takes_ranges=False)
    fetch(remote_file(server.answer("a", *answers)), tmp_path)
    assert bars[0][:5] == (300_000, 0, "data.bin", "byte", True)
    assert bars[0][5].position == 300_000


# ---- Cut connections ----


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_cut_connection_goes_on(server, tmp_path, is_reset):
    cut = Answer(CONTENT, cut_after=100_000, is_reset=is_reset)
    remote = remote_file(server.answer("a", cut, Answer(CONTENT)))
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    assert server.ranges("a") == [None, "bytes=100000-"]
    assert server.requests[1].headers["if-range"] == '"1"'


def test_a_second_call_goes_on(server, tmp_path, capsys):
    remote = remote_file(
        server.answer("a", Answer(CONTENT, cut_after=70_000), Answer(status=403))
    )
    message = message_of(fetch, remote, tmp_path)
    assert "answers 403 Forbidden" in message and "the 70000 bytes" in message
    assert sorted(os.listdir(tmp_path)) == ["data.bin.part", "data.bin.part.json"]
    server.answer("a", Answer(CONTENT))
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    assert server.ranges("a")[2:] == ["bytes=70000-"]
    assert "(300,000 bytes, 70,000 of them are there)" in capsys.readouterr().out


CHILD = """
import sys
from official.utils.data.download import RemoteFile, fetch
try:
    print("path", fetch(RemoteFile("data.bin", (sys.argv[1],), sys.argv[2], 300000),
                        sys.argv[3]), flush=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


def start_process(remote, folder) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, remote.urls[0], remote.sha256, str(folder)],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until(condition, seconds=20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_was_ended_goes_on(server, tmp_path, number):
    remote = remote_file(server.answer("a", Answer(CONTENT, stall_after=50_000)))
    part = tmp_path / "data.bin.part"
    with start_process(remote, tmp_path) as process:
        wait_until(lambda: part.exists() and part.stat().st_size == 50_000)
        process.send_signal(number)
        assert process.wait(20) == (130 if number == signal.SIGINT else -9)
    assert not (tmp_path / "data.bin").exists()
    server.answer("a", Answer(CONTENT))
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    assert server.ranges("a") == [None, "bytes=50000-"]


def test_an_interrupt_in_this_process(server, tmp_path, monkeypatch):
    remote = remote_file(server.answer("a", Answer(CONTENT)))
    write = download_part.Part.write

    def write_and_interrupt(part, block):
        write(part, block[:1000])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download_part.Part, "write", write_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(remote, tmp_path)
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:1000]
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    assert server.ranges("a") == [None, "bytes=1000-"]


def test_killed_between_the_last_byte_and_the_name(server, tmp_path, monkeypatch):
    remote = remote_file(server.answer("a", Answer(CONTENT)))
    with monkeypatch.context() as patch:
        patch.setattr(download, "_verify", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            fetch(remote, tmp_path)
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    assert len(server.requests) == 1


def test_a_server_without_ranges_starts_over(server, tmp_path):
    cut = Answer(CONTENT, takes_ranges=False, cut_after=100_000)
    whole = Answer(CONTENT, takes_ranges=False)
    remote = remote_file(server.answer("a", cut, whole))
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    assert server.ranges("a") == [None, "bytes=100000-"]


def test_a_server_without_ranges_that_always_cuts_ends(server, tmp_path):
    cut = Answer(CONTENT, takes_ranges=False, cut_after=100_000)
    remote = remote_file(server.answer("a", cut))
    message = message_of(fetch, remote, tmp_path)
    assert "cut the connection after 100000 of 300000 bytes (5 tries)" in message
    assert len(server.requests) == 5


def test_tries_that_bring_much_do_not_count(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PROGRESS_BYTES", 20_000)
    remote = remote_file(server.answer("a", Answer(CONTENT, cut_after=20_000)))
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    assert len(server.requests) == 15
    # Less than that: five tries, each 10,000 bytes on.
    server.answer("a", Answer(CONTENT, cut_after=3_000))
    message = message_of(fetch, remote, tmp_path / "b")
    assert "cut the connection after 15000 of 300000 bytes (5 tries)" in message


@pytest.mark.parametrize("takes_if_range", [True, False])
def test_a_file_that_changed_between_two_parts(server, tmp_path, takes_if_range):
    # Without If-Range only the checksum shows that the two parts do not fit.
    etags = ('"old"', '"new"') if takes_if_range else ("", "")
    old = Answer(OTHER, etag=etags[0], cut_after=100_000)
    new = Answer(CONTENT, etag=etags[1])
    remote = remote_file(server.answer("a", old, new))
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    expected = [None, "bytes=100000-"] + ([] if takes_if_range else [None])
    assert server.ranges("a") == expected


def test_last_modified_serves_where_the_etag_is_weak(server, tmp_path):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    cut = Answer(CONTENT, etag='W/"1"', headers={"Last-Modified": date}, cut_after=1000)
    remote = remote_file(server.answer("a", cut, Answer(CONTENT, etag=date)))
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    assert server.requests[1].headers["if-range"] == date


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=416),
        Answer(CONTENT, status=206, headers={"Content-Range": "bytes 0-299999/300000"}),
        Answer(CONTENT, status=206, headers={"Content-Range": "bytes 1000-2000/9"}),
        Answer(CONTENT, status=206, headers={"Content-Range": "lines 1-2/*"}),
        Answer(CONTENT, status=206),
    ],
    ids=["416", "start", "total", "unit", "no range"],
)
def test_a_range_that_is_refused_or_wrong_starts_over(server, tmp_path, answer):
    cut = Answer(CONTENT, cut_after=1000)
    if answer.status == 206:
        answer = Answer(raw=b"HTTP/1.1 206 OK\r\n" + b"".join(
            f"{name}: {value}\r\n".encode() for name, value in answer.headers.items()
        ) + b"Content-Length: 3\r\n\r\nabc")  # fmt: skip
    remote = remote_file(server.answer("a", cut, answer, Answer(CONTENT)))
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    assert server.ranges("a") == [None, "bytes=1000-", None]


def test_a_part_that_is_not_ours_stays(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(b"of a browser")
    remote = remote_file(server.answer("a", Answer(CONTENT)))
    message = message_of(fetch, remote, tmp_path)
    assert f"{tmp_path}/data.bin.part is in the way" in message
    assert (tmp_path / "data.bin.part").read_bytes() == b"of a browser"


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, None])
def test_a_part_of_another_version_starts_over(server, tmp_path, change):
    url = server.answer("a", Answer(CONTENT))
    source = {"url": url, "validator": '"1"', "sha256": remote_file(url).sha256}
    source.update(change or {})
    (tmp_path / "data.bin.part.json").write_text(json.dumps(source))
    content = OTHER[:500] if change else OTHER + b"longer"
    (tmp_path / "data.bin.part").write_bytes(content)
    assert_fetched(fetch(remote_file(url), tmp_path), tmp_path)
    assert server.ranges("a") == [None]


# ---- What a server can answer ----


def test_wrong_checksum(server, tmp_path):
    remote = remote_file(server.answer("a", Answer(OTHER)))
    message = message_of(fetch, remote, tmp_path)
    assert f"{tmp_path}/data.bin cannot be fetched: {remote.urls[0]} has" in message
    assert hashlib.sha256(OTHER).hexdigest() in message
    assert remote.sha256 in message
    assert "put the right file there yourself" in message
    assert os.listdir(tmp_path) == []
    assert len(server.requests) == 1


def test_wrong_checksum_of_a_pieced_file_is_tried_once_more(server, tmp_path):
    cut = Answer(OTHER, cut_after=1000)
    remote = remote_file(server.answer("a", cut, Answer(OTHER)))
    assert hashlib.sha256(OTHER).hexdigest() in message_of(fetch, remote, tmp_path)
    assert server.ranges("a") == [None, "bytes=1000-", None]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("has_length", [True, False])
def test_a_file_that_is_too_long(server, tmp_path, has_length):
    answer = Answer(CONTENT + bytes(1 << 20), has_length=has_length)
    remote = remote_file(server.answer("a", answer))
    message = message_of(fetch, remote, tmp_path)
    assert "300000" in message and "put the right file there" in message
    assert ("has a file of 1348576" if has_length else "sends more than") in message
    assert os.listdir(tmp_path) == []


def test_another_page_leaves_the_part(server, tmp_path):
    # A network's log-in page comes with status 200.
    page = Answer(b"<html>Log in!</html>", takes_ranges=False)
    url = server.answer("a", Answer(CONTENT, cut_after=1000), page)
    message = message_of(fetch, remote_file(url), tmp_path)
    assert "has a file of 20 bytes where 300000 are expected" in message
    server.answer("a", Answer(CONTENT))
    fetch(remote_file(url), tmp_path)
    assert server.ranges("a")[-1] == "bytes=1000-"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 304])
def test_final_answers(server, tmp_path, status):
    remote = remote_file(server.answer("a", Answer(status=status)))
    message = message_of(fetch, remote, tmp_path)
    assert f"{tmp_path}/data.bin cannot be fetched" in message
    assert f"{remote.urls[0]} answers {status} " in message
    assert "check the network" in message and "put the file there" in message
    assert len(server.requests) == 1
    assert os.listdir(tmp_path) == []


def test_the_next_mirror_is_asked(server, tmp_path):
    missing = server.url("missing")
    wrong = server.answer("wrong", Answer(OTHER))
    cut = server.answer("cut", Answer(CONTENT, cut_after=5000), Answer(status=404))
    right = server.answer("right", Answer(CONTENT, etag='"of another server"'))
    remote = remote_file(missing, wrong, cut, right)
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    # What one mirror sent serves at the next; the checksum tells.
    assert server.ranges("right") == ["bytes=5000-"]
    assert "if-range" not in server.requests[-1].headers


def test_no_mirror_has_it(server, tmp_path):
    remote = remote_file(server.url("a"), http_server.unused_url("b"))
    message = message_of(fetch, remote, tmp_path)
    assert f"{remote.urls[0]} answers 404 Not Found; {remote.urls[1]} cannot" in message


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_passing_answers_are_tried_again(server, tmp_path, status, capsys):
    failing = Answer(status=status)
    remote = remote_file(server.answer("a", failing, failing, Answer(CONTENT)))
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    assert len(server.requests) == 3
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2
    assert f"answers {status}" in warnings[1]
    assert "; try 3 of 5 follows in 0.004 s" in warnings[1]


def test_500_for_ever(server, tmp_path):
    remote = remote_file(server.answer("a", Answer(status=500)))
    message = message_of(fetch, remote, tmp_path)
    assert "answers 500 Internal Server Error (5 tries)" in message
    assert len(server.requests) == 5
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_retry_after(server, tmp_path, kind):
    # A date has whole seconds: the next one but one is 1 to 2 s away.
    later = email.utils.formatdate(time.time() + 2, usegmt=True)
    value = "1" if kind == "seconds" else later
    busy = Answer(status=503, headers={"Retry-After": value})
    remote = remote_file(server.answer("a", busy, Answer(CONTENT)))
    begun = time.monotonic()
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    assert 0.9 <= time.monotonic() - begun < 4


def test_retry_after_beyond_the_limit(server, tmp_path):
    busy = Answer(status=503, headers={"Retry-After": "3600"})
    remote = remote_file(server.answer("a", busy))
    message = message_of(fetch, remote, tmp_path)
    assert "answers 503 Service Unavailable and asks to come back in 3600 s" in message
    assert len(server.requests) == 1


@pytest.mark.parametrize("value", ["soon", "", "-1", "Mon, 99 Foo 2020 00:00:00 GMT"])
def test_retry_after_without_sense(server, tmp_path, value):
    busy = Answer(status=503, headers={"Retry-After": value})
    remote = remote_file(server.answer("a", busy, Answer(CONTENT)))
    assert_fetched(fetch(remote, tmp_path), tmp_path)


def test_nobody_listens(tmp_path, capsys):
    remote = remote_file(http_server.unused_url("a"))
    message = message_of(fetch, remote, tmp_path)
    assert f"{remote.urls[0]} cannot be reached" in message
    assert "refused" in message and "(5 tries)" in message
    assert "check the network" in message
    assert os.listdir(tmp_path) == []


def test_no_network(tmp_path, monkeypatch):
    def getaddrinfo(*_, **__):
        raise download.socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(download.socket, "getaddrinfo", getaddrinfo)
    urls = "https://one.example/a", "https://two.example/a"
    message = message_of(fetch, remote_file(*urls), tmp_path)
    assert all(f"{url} cannot be reached" in message for url in urls)
    assert "name resolution" in message and "check the network" in message


@pytest.mark.parametrize(
    "answer, fragment",
    [
        (Answer(is_mute=True), "was silent for 0.4 s"),
        (Answer(CONTENT, stall_after=0), "was silent for 0.4 s"),
        (Answer(CONTENT, block_bytes=1, pause_seconds=0.03), "fewer than 100 bytes"),
    ],
    ids=["no answer", "no body", "trickle"],
)
def test_a_slow_server(server, tmp_path, answer, fragment):
    patience = Patience(timeout_seconds=0.4, tries=2, backoff_seconds=0.001)
    remote = remote_file(server.answer("a", answer))
    begun = time.monotonic()
    message = message_of(download.fetch, remote, str(tmp_path), patience)
    assert time.monotonic() - begun < 5
    assert fragment in message and "(2 tries)" in message


def test_a_server_that_stalls_once(server, tmp_path):
    patience = Patience(timeout_seconds=0.4, backoff_seconds=0.001)
    remote = remote_file(
        server.answer("a", Answer(CONTENT, stall_after=7000), Answer(CONTENT))
    )
    assert_fetched(download.fetch(remote, str(tmp_path), patience), tmp_path)
    assert server.ranges("a")[:2] == [None, "bytes=7000-"]


@pytest.mark.parametrize(
    "raw",
    [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"", b"\x15\x03\x01\0\x02"],
    ids=["ssh", "status", "nothing", "tls"],
)
def test_an_answer_that_is_no_http(server, tmp_path, raw):
    remote = remote_file(server.answer("a", Answer(raw=raw)))
    message = message_of(fetch, remote, tmp_path)
    assert remote.urls[0] in message and "(5 tries)" in message


def test_no_certificate(server, tmp_path):
    # TLS with a server that speaks none.
    url = server.url("a").replace("http://", "https://")
    assert f"{url} cannot be reached" in message_of(fetch, remote_file(url), tmp_path)


# ---- Redirects ----


def redirect(target, status=302) -> Answer:
    return Answer(status=status, headers={"Location": target})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server, tmp_path, status):
    target = server.answer("b/c", Answer(CONTENT, cut_after=1000), Answer(CONTENT))
    hop = server.answer("b/d", redirect("c#fragment", status))
    url = server.answer("a", redirect(hop.replace("http:", ""), status))
    assert_fetched(fetch(remote_file(url), tmp_path), tmp_path)
    assert server.ranges("b/c") == [None, "bytes=1000-"]
    assert target.endswith("/b/c")


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_redirect_loop(server, tmp_path, length):
    for hop in range(length):
        server.answer(str(hop), redirect(f"/{(hop + 1) % length}"))
    message = message_of(fetch, remote_file(server.url("0")), tmp_path)
    assert "/0 redirects in a circle" in message
    assert len(server.requests) == length
    assert os.listdir(tmp_path) == []


def test_ten_redirects_and_no_more(server, tmp_path):
    server.answer("10", Answer(CONTENT))
    for hop in range(10):
        server.answer(str(hop), redirect(f"/{hop + 1}"))
    fetch(remote_file(server.url("0")), tmp_path)
    server.answer("first", redirect("/0"))
    message = message_of(fetch, remote_file(server.url("first")), tmp_path / "b")
    assert "redirects more than 10 times" in message


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:,a", "javascript:1", "", "//["],
)
def test_redirects_to_elsewhere_are_refused(server, tmp_path, target):
    remote = remote_file(server.answer("a", redirect(target)))
    message = message_of(fetch, remote, tmp_path)
    assert f"redirects to {target or 'nowhere'}, and only http and https" in message
    assert os.listdir(tmp_path) == []


def test_a_redirect_to_a_local_file_of_the_right_content(server, tmp_path):
    (tmp_path / "secret").write_bytes(CONTENT)
    remote = remote_file(server.answer("a", redirect(f"file://{tmp_path}/secret")))
    assert "redirects to file://" in message_of(fetch, remote, tmp_path)
    assert os.listdir(tmp_path) == ["secret"]


@pytest.mark.parametrize("target", ["http://", "http://a:port/", "http://a..b/"])
def test_redirects_to_no_address(server, tmp_path, target):
    remote = remote_file(server.answer("a", redirect(target)))
    assert f"{remote.urls[0]} " in message_of(fetch, remote, tmp_path)


# ---- The disk ----


def test_nothing_half_written_under_the_final_name(server, tmp_path):
    path, seen, is_done = tmp_path / "data.bin", set(), threading.Event()

    def watch():
        while not is_done.is_set():
            if path.exists():
                seen.add(path.read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        slow = dict(block_bytes=30_000, pause_seconds=0.01)
        remote = remote_file(
            server.answer(
                "a",
                Answer(OTHER, **slow),
            )
        )
        message_of(fetch, remote, tmp_path)
        assert not seen
        server.answer(
            "a",
            Answer(status=500),
            Answer(CONTENT, cut_after=100_000, **slow),
            Answer(CONTENT, takes_ranges=False, cut_after=200_000, **slow),
            Answer(CONTENT, **slow),
        )
        fetch(remote, tmp_path)
        wait_until(lambda: seen)
    finally:
        is_done.set()
        watcher.join()
    assert seen == {CONTENT}


def test_a_folder_that_takes_no_files(server):
    remote = remote_file(server.answer("a", Answer(CONTENT)))
    # The superuser, too, cannot write here.
    message = message_of(fetch, remote, "/proc/data")
    assert "/proc/data cannot be written" in message
    assert "name another folder" in message


def test_a_file_in_the_folders_place(server, tmp_path):
    (tmp_path / "file").write_text("mine")
    remote = remote_file(server.answer("a", Answer(CONTENT)))
    for folder in ("file", "file/below"):
        message = message_of(fetch, remote, tmp_path / folder)
        assert f"{tmp_path}/file" in message and "name another folder" in message
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk(server, tmp_path, monkeypatch):
    class FullDisk:
        """A file of at most 10,000 bytes."""

        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, block):
            room = 10_000 - self._file.tell()
            if not room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(block[:room])

        def __enter__(self):
            return self._file.__enter__()

        def __exit__(self, *error):
            return self._file.__exit__(*error)

    remote = remote_file(server.answer("a", Answer(CONTENT)))
    open_part = download_part.Part._open

    def open_on_full_disk(part):
        open_part(part)
        part._file = FullDisk(part._file)

    with monkeypatch.context() as patch:
        patch.setattr(download_part.Part, "_open", open_on_full_disk)
        message = message_of(fetch, remote, tmp_path)
    assert f"{tmp_path}/data.bin.part cannot be written" in message
    assert "No space left on device" in message and "free space there" in message
    assert len(server.requests) == 1
    # With room it goes on from there.
    assert_fetched(fetch(remote, tmp_path), tmp_path)
    assert server.ranges("a") == [None, "bytes=10000-"]


def test_a_folder_that_is_elsewhere():
    remote = remote_file(http_server.unused_url())
    message = message_of(fetch, remote, "gs://bucket/data")
    assert "gs://bucket/data is not on this machine" in message
    assert "local folder first" in message


# ---- Several processes ----


def test_processes_at_once_fetch_once(server, tmp_path):
    slow = Answer(CONTENT, block_bytes=10_000, pause_seconds=0.03)
    remote = remote_file(server.answer("a", slow))
    processes = [start_process(remote, tmp_path) for _ in range(3)]
    outputs = [process.communicate(timeout=30)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert all(f"path {tmp_path}/data.bin\n" in output for output in outputs)
    assert_fetched(str(tmp_path / "data.bin"), tmp_path)
    assert len(server.requests) == 1


def test_the_one_that_waits_takes_over(server, tmp_path):
    stalled = Answer(CONTENT, stall_after=50_000)
    remote = remote_file(server.answer("a", stalled, Answer(CONTENT)))
    part = tmp_path / "data.bin.part"
    with start_process(remote, tmp_path) as first:
        wait_until(lambda: part.exists() and part.stat().st_size == 50_000)
        with start_process(remote, tmp_path) as second:
            assert "waiting: another process fetches" in second.stdout.readline()
            first.kill()
            assert f"path {tmp_path}/data.bin" in second.communicate(timeout=30)[0]
    assert_fetched(str(tmp_path / "data.bin"), tmp_path)
    assert server.ranges("a") == [None, "bytes=50000-"]


def test_a_file_system_without_locks(server, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(download_part.fcntl, "flock", flock)
    cut = Answer(CONTENT, cut_after=1000)
    remote = remote_file(server.answer("a", cut, Answer(status=404)))
    message_of(fetch, remote, tmp_path)
    assert os.listdir(tmp_path) == []
    server.answer("a", cut, Answer(CONTENT))
    assert_fetched(fetch(remote, tmp_path), tmp_path)
