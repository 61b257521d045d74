"""Fetching files over HTTP: resumable, checked, and never half there.

What has come so far stands in `<name>.part`, with `<name>.part.json` beside it, which
says where it came from. A file gets its own name only when all of its bytes are there
and their SHA-256 is right. Without network nothing is lost: the next call goes on.
"""

import contextlib
import dataclasses
import email.utils
import http.client
import os
import re
import socket
import ssl
import string
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

from official.utils.data.download_part import (
    BLOCK_BYTES,
    Part,
    RemoteFile,
    is_header_value,
    sha256,
)
from official.utils.errors import UserError, one_line, writing
from official.utils.logs import console

MAX_REDIRECTS = 10
# A try that brought so much was worth it, and the count of tries begins anew: a large
# file over a bad line may be cut many times.
PROGRESS_BYTES = 1 << 20
# A server that sends one byte now and then would never run into the time-out.
MIN_BYTES_PER_SECOND = 100

_REDIRECTS = (301, 302, 303, 307, 308)
# Beside the server errors (5xx): a time-out, too early, too many requests.
_PASSING = (408, 425, 429)
_NETWORK = "check the network and try again later, or put the file there yourself"
_CONTENT = (
    "the server has another version of it, or something on the way changed it: put the "
    "right file there yourself"
)


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to ask.

    Attributes:
        timeout_seconds: silence after which a connection is given up.
        tries: tries in a row that may fail at one address.
        backoff_seconds: pause after the first failure; it doubles with each.
        max_wait_seconds: longest pause, also where the server asks for more.
    """

    timeout_seconds: float = 20
    tries: int = 5
    backoff_seconds: float = 1
    max_wait_seconds: float = 60


PATIENCE = Patience()


class _AddressError(Exception):
    """An address does not have the file; to ask there again would not help."""

    def __init__(self, message: str, remedy: str = _NETWORK):
        super().__init__(message)
        self.remedy = remedy


class _PassingError(Exception):
    """Something failed that may work at the next try."""

    def __init__(self, message: str, wait_seconds: float | None = None):
        super().__init__(message)
        self.wait_seconds = wait_seconds


def require_local(path: str) -> None:
    """Checks that a path is one of this machine's file system.

    Args:
        path: a file or folder, maybe `gs://...`.

    Raises:
        UserError: it is not.
    """
    if "://" in path:
        raise UserError(
            f"{path} is not on this machine, and files are fetched and unpacked only "
            "there; do that in a local folder first, then copy the files"
        )


def fetch(remote: RemoteFile, folder: str, patience: Patience = PATIENCE) -> str:
    """Fetches a file unless it is there already.

    A download that was cut, in this process or an earlier one, goes on where it ended.
    Several processes may ask for the same file: one fetches, the others wait for it.
    An interrupt (KeyboardInterrupt) leaves what has come for the next call.

    Args:
        remote: the file.
        folder: where it is wanted; made when there is none.
        patience: time-outs and tries.

    Returns:
        The path of the file, complete and verified.

    Raises:
        UserError: it is there but is another file; no address has it; what came is not
            what is expected; or the folder takes no files.
    """
    require_local(folder)
    path = os.path.join(folder, remote.name)
    if _is_there(path, remote):
        return path
    with writing(folder):
        os.makedirs(folder, exist_ok=True)
    with Part(path, remote) as part:
        # Another process may have fetched it while this one waited for the lock.
        if not _is_there(path, remote):
            _complete(part, remote, patience)
            part.finish()
    return path


def _is_there(path: str, remote: RemoteFile) -> bool:
    """Whether `path` exists; raises a `UserError` where it is not the right file."""
    if not os.path.lexists(path):
        return False
    remedy = "delete or rename it, and it is fetched again"
    try:
        size = os.path.getsize(path)
        if size != remote.size_bytes:
            raise UserError(
                f"{path} has {size} bytes where {remote.size_bytes} are expected: it "
                f"is damaged or another version; {remedy}"
            )
        with open(path, "rb") as file:
            found = sha256(file)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({one_line(error)}); {remedy}"
        ) from None
    if found != remote.sha256:
        raise UserError(
            f"{path} has SHA-256 {found} where {remote.sha256} is expected: it is "
            f"damaged or another version; {remedy}"
        )
    return True


def _complete(part: Part, remote: RemoteFile, patience: Patience) -> None:
    """Brings `part` to its full length, verified, from any of the addresses."""
    begun = f", {part.size:,} of them are there" if part.size else ""
    print(f"fetching {remote.name} ({remote.size_bytes:,} bytes{begun})", flush=True)
    bar = console.progress_bar(
        remote.size_bytes, part.size, remote.name, unit="byte", scale=True
    )
    reasons = []
    with bar:
        part.report = bar.update
        for url in remote.urls:
            try:
                _fetch_from(url, part, remote, patience)
                return
            except _AddressError as error:
                reasons.append(f"{url} {error}")
                remedy = error.remedy
    kept = f" (the {part.size} bytes that came are kept for then)" if part.size else ""
    raise UserError(
        f"{part.path} cannot be fetched: {'; '.join(reasons)}; {remedy}{kept}"
    )


def _fetch_from(url: str, part: Part, remote: RemoteFile, patience: Patience) -> None:
    """Asks one address until `part` is complete, at most `patience.tries` times."""
    failures, farthest = 0, part.size
    while True:
        try:
            if part.size < remote.size_bytes:
                _receive(url, part, remote, patience)
            _verify(part, remote)
            return
        except _PassingError as error:
            if part.size >= farthest + PROGRESS_BYTES:
                failures, farthest = 0, part.size
            failures += 1
            if failures >= patience.tries:
                raise _AddressError(f"{error} ({failures} tries)") from None
            wait = patience.backoff_seconds * 2 ** (failures - 1)
            if error.wait_seconds is not None:
                wait = error.wait_seconds
            wait = min(wait, patience.max_wait_seconds)
            console.warn(
                f"{url} {error}; try {failures + 1} of {patience.tries} follows in "
                f"{wait:.3g} s"
            )
            time.sleep(wait)


def _verify(part: Part, remote: RemoteFile) -> None:
    """Checks the bytes of a full `part`; forgets them if they are wrong."""
    found = part.sha256()
    if found == remote.sha256:
        return
    was_pieced = part.is_pieced
    part.restart()
    if was_pieced:
        # An earlier piece may be of another version, or its disk may have failed.
        raise _PassingError("sends another file than the one that was begun")
    raise _AddressError(
        f"has a file with SHA-256 {found} where {remote.sha256} is expected", _CONTENT
    )


def _receive(url: str, part: Part, remote: RemoteFile, patience: Patience) -> None:
    """Receives as much as one connection gives."""
    headers = {"User-Agent": "official-models", "Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        validator = part.validator(url)
        # Where the server names no version, the SHA-256 tells in the end.
        if validator:
            headers["If-Range"] = validator
    with (
        _network_errors(patience),
        _open(url, headers, patience.timeout_seconds) as response,
    ):
        _begin(response, url, part, remote, patience)
        begun, received = time.monotonic(), 0
        # One byte more than expected is asked for, to see whether there is one.
        while block := response.read1(
            min(BLOCK_BYTES, remote.size_bytes + 1 - part.size)
        ):
            if part.size + len(block) > remote.size_bytes:
                part.restart()
                raise _AddressError(
                    f"sends more than the {remote.size_bytes} bytes that are expected",
                    _CONTENT,
                )
            part.write(block)
            received += len(block)
            seconds = time.monotonic() - begun
            if seconds >= patience.timeout_seconds:
                if received < seconds * MIN_BYTES_PER_SECOND:
                    raise _PassingError(
                        f"sends fewer than {MIN_BYTES_PER_SECOND} bytes a second"
                    )
                begun, received = time.monotonic(), 0
    if part.size < remote.size_bytes:
        raise _PassingError(
            f"cut the connection after {part.size} of {remote.size_bytes} bytes"
        )


def _begin(response, url, part: Part, remote: RemoteFile, patience: Patience) -> None:
    """Looks at the head of a response: what its body is, and where it belongs."""
    status = response.status
    answer = f"answers {status} {http.client.responses.get(status, '')}".rstrip()
    if status == 200:
        # The server ignores ranges, or the file changed since the part was begun.
        if response.length not in (None, remote.size_bytes):
            raise _AddressError(
                f"has a file of {response.length} bytes where {remote.size_bytes} are "
                "expected",
                _CONTENT,
            )
        part.restart(url, _validator(response))
    elif status == 206 and part.size and _continues(response, part, remote):
        part.is_pieced = True
    elif status in (206, 416) and part.size:
        part.restart()
        raise _PassingError(f"{answer} and does not go on where the part ends")
    elif status >= 500 or status in _PASSING:
        wait = _retry_after(response)
        if wait is not None and wait > patience.max_wait_seconds:
            raise _AddressError(f"{answer} and asks to come back in {wait:.0f} s")
        raise _PassingError(answer, wait)
    else:
        raise _AddressError(answer)


def _continues(response, part: Part, remote: RemoteFile) -> bool:
    """Whether the body of a 206 starts where `part` ends, in a file of its size."""
    content_range = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", content_range)
    return (
        found is not None
        and int(found[1]) == part.size
        and found[2] in ("*", str(remote.size_bytes))
    )


def _validator(response) -> str | None:
    """A strong ETag, else the time of change, for If-Range (RFC 9110, 13.1.5)."""
    etag = response.headers.get("ETag", "")
    if re.fullmatch(r'"[^"]*"', etag) and is_header_value(etag):
        return etag
    modified = response.headers.get("Last-Modified", "")
    return modified if is_header_value(modified) else None


def _retry_after(response) -> float | None:
    """Seconds that the server asks to wait; it gives them or a date."""
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
        return max(0.0, date.timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _open(
    url: str, headers: dict[str, str], timeout: float
) -> http.client.HTTPResponse:
    """Opens an address and follows its redirects, to http and https only."""
    # The default opener would also open file://, ftp:// and data:.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    seen = [url]
    while True:
        try:
            request = urllib.request.Request(url, headers=headers)
            response = opener.open(request, timeout=timeout)
        except ValueError as error:
            message = f"is no address that can be opened ({one_line(error)})"
            raise _AddressError(message) from None
        if response.status not in _REDIRECTS:
            return response
        with response:
            location = response.headers.get("Location", "")
        # Servers send characters here that a request must not have.
        location = urllib.parse.quote(location, safe=string.punctuation)
        try:
            url = urllib.parse.urldefrag(urllib.parse.urljoin(url, location)).url
            scheme = urllib.parse.urlsplit(url).scheme
        except ValueError:
            scheme, url = "", location
        if not location or scheme not in ("http", "https"):
            raise _AddressError(
                f"redirects to {location or 'nowhere'}, and only http and https "
                "addresses are followed"
            )
        if url in seen:
            raise _AddressError("redirects in a circle")
        if len(seen) > MAX_REDIRECTS:
            raise _AddressError(f"redirects more than {MAX_REDIRECTS} times")
        seen.append(url)


@contextlib.contextmanager
def _network_errors(patience: Patience) -> Iterator[None]:
    """Sorts what a connection can raise by whether another try may help."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            message = f"was silent for {patience.timeout_seconds:g} s"
            raise _PassingError(message) from None
        if isinstance(reason, http.client.IncompleteRead):
            raise _PassingError("cut the connection") from None
        text = f"cannot be reached ({_first_line(reason)})"
        # Without network every name fails, at once: tries would only take time.
        if isinstance(reason, socket.gaierror | ssl.SSLCertVerificationError | str):
            raise _AddressError(text) from None
        raise _PassingError(text) from None


def _first_line(reason: Exception | str) -> str:
    """What went wrong, as printable text."""
    text = reason if isinstance(reason, str) else one_line(reason)
    return text if text.isprintable() else ascii(text)
