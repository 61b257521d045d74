"""An HTTP server on loopback whose answers a test chooses, good and bad."""

import contextlib
import dataclasses
import http.server
import re
import socket
import struct
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the server says to one request.

    Attributes:
        content: the whole file; a range of it where the request asks for one.
        status: of the response; 200 becomes 206 for a range.
        takes_ranges: whether `Range` is heeded; `If-Range` is, with it.
        etag: header of that name, with its quotes; none if empty.
        headers: further ones; they win over those that follow from the rest.
        has_length: whether there is a Content-Length.
        cut_after: bytes of the body after which the connection is closed.
        is_reset: whether it is closed with an error on the wire (RST).
        stall_after: bytes of the body after which nothing more comes.
        is_mute: nothing comes, not even a status.
        block_bytes: how many bytes are sent at once; all if 0.
        pause_seconds: between two such blocks.
        raw: sent as it is, in place of a response.
    """

    content: bytes = b""
    status: int = 200
    takes_ranges: bool = True
    etag: str = '"1"'
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    has_length: bool = True
    cut_after: int | None = None
    is_reset: bool = False
    stall_after: int | None = None
    is_mute: bool = False
    block_bytes: int = 0
    pause_seconds: float = 0
    raw: bytes | None = None


@dataclasses.dataclass(frozen=True)
class Request:
    """What a client asked.

    Attributes:
        path: of the address.
        headers: by lower-case name.
    """

    path: str
    headers: Mapping[str, str]


class Server:
    """The running server.

    Attributes:
        requests: those that came so far, in order.
    """

    def __init__(self):
        self.requests: list[Request] = []
        self._answers: dict[str, list[Answer]] = {}
        self._lock = threading.Lock()
        self.is_closing = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.owner = self
        # The server's default is to look twice a second whether it is to end.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def url(self, path: str) -> str:
        """Address of a path on this server."""
        return f"http://127.0.0.1:{self._server.server_port}/{path.lstrip('/')}"

    def answer(self, path: str, *answers: Answer) -> str:
        """Sets what a path answers.

        Args:
            path: below the server's root.
            *answers: to the first request, the second ...; the last one stays. A path
                without any answers 404.

        Returns:
            The address.
        """
        with self._lock:
            self._answers["/" + path.lstrip("/")] = list(answers)
        return self.url(path)

    def ranges(self, path: str) -> Sequence[str | None]:
        """The `Range` of each request for a path, in order."""
        path = "/" + path.lstrip("/")
        return [
            request.headers.get("range")
            for request in self.requests
            if request.path == path
        ]

    def _next_answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            answers = self._answers.get(request.path, [Answer(status=404)])
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def _start(self) -> None:
        self._thread.start()

    def _stop(self) -> None:
        self.is_closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    """Runs a server while the context lasts."""
    server = Server()
    server._start()
    try:
        yield server
    finally:
        server._stop()


def unused_url(path: str = "") -> str:
    """An address of this machine at which nobody listens."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}/{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Longer than any test: a thread that hangs ends by itself.
    timeout = 30

    def log_message(self, *message) -> None:
        """Keeps stderr clean."""

    def handle(self) -> None:
        # A client that gives up is what the tests are about.
        with contextlib.suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        self.close_connection = True
        server = self.server.owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = urllib.parse.urlsplit(self.path).path
        answer = server._next_answer(Request(path, headers))
        if answer.is_mute:
            server.is_closing.wait(self.timeout)
            return
        if answer.raw is not None:
            self.wfile.write(answer.raw)
            return
        self._send_body(answer, self._send_head(answer, headers))

    def _send_head(self, answer: Answer, headers: Mapping[str, str]) -> bytes:
        """Sends status and headers; returns the body that belongs to them."""
        status, body, own = answer.status, answer.content, {}
        if answer.etag:
            own["ETag"] = answer.etag
        first = self._first_byte(answer, headers)
        if first is not None and status == 200:
            total = len(answer.content)
            body = answer.content[first:]
            if body:
                status = 206
                own["Content-Range"] = f"bytes {first}-{total - 1}/{total}"
            else:
                status = 416
                own["Content-Range"] = f"bytes */{total}"
        if answer.has_length:
            own["Content-Length"] = str(len(body))
        self.send_response(status)
        for name, value in {**own, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()
        return body

    def _first_byte(self, answer, headers) -> int | None:
        found = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if not answer.takes_ranges or not found:
            return None
        if headers.get("if-range") not in (None, answer.etag):
            return None
        return int(found[1])

    def _send_body(self, answer: Answer, body: bytes) -> None:
        stops = [stop for stop in (answer.cut_after, answer.stall_after) if stop]
        ends = 0 in (answer.cut_after, answer.stall_after)
        body = b"" if ends else body[: min([len(body), *stops])]
        size = answer.block_bytes or len(body) or 1
        for start in range(0, len(body), size):
            if start and self.server.owner.is_closing.wait(answer.pause_seconds):
                return
            self.wfile.write(body[start : start + size])
        if answer.stall_after is not None:
            self.server.owner.is_closing.wait(self.timeout)
        if answer.is_reset:
            # What was sent has to arrive before the reset, which overtakes it.
            self.server.owner.is_closing.wait(0.05)
            no_linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
            self.connection.close()
