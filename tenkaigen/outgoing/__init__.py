"""Every fetch of an address that somebody else has chosen: the one guarded HTTP client of the product.

One parser, one lookup, every address checked, the connection made to a checked address and nowhere else, redirects by
hand with the whole check again, limits on time and bytes. No proxies, no cookies, no decompression. Hosts that the
operator configures in the environment (object store, model hub, Gemini, Redis) are not fetched through here.
"""

import ssl
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from socket import SHUT_RDWR, socket

import structlog
from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from tenkaigen.outgoing import addresses, urls
from tenkaigen.outgoing.errors import AnswerRefused, FetchFailed, OutgoingError, UrlRefused
from tenkaigen.outgoing.urls import Target

__all__ = ["Answer", "AnswerRefused", "Client", "FetchFailed", "Limits", "OutgoingError", "UrlRefused"]

logger = structlog.get_logger(__name__)
CONNECT_SECONDS_MAX = 3.0
CONNECTS_MAX = 3  # addresses of one name that are tried
CHUNK_BYTES = 65_536
REDIRECTS = frozenset({301, 302, 303, 307, 308})
AGENT = "TenkaiGen"
Resolver = Callable[[str, int, float], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one fetch may take. An answer is never unpacked, so `bytes_max` holds before and after."""

    bytes_max: int
    content_types: frozenset[str] = frozenset()  # of a 2xx answer; empty: any
    seconds_max: float = 10.0  # in all, lookups and redirects included
    redirects_max: int = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    url: str  # of the last hop
    content_type: str  # in lower case, without parameters
    body: bytes

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    body: bytes | None
    headers: Mapping[str, str]
    limits: Limits
    hosts: Collection[str] | None
    deadline: float


class Client:
    """Fetches. Safe to share between threads.

    Args:
        local: (address, port) of a test's own servers, which may be reached although they are not public, and by plain
            http. Production code passes none, and no setting can.
        resolve: (host, port, seconds) to addresses.
        tls: how certificates are judged; the system's authorities unless a test has its own.
    """

    def __init__(
        self,
        *,
        local: Collection[tuple[str, int]] = (),
        resolve: Resolver = addresses.look_up,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._local = frozenset(local)
        self._local_ports = frozenset(port for _, port in self._local)
        self._resolve = resolve
        self._tls = tls

    def get(
        self,
        url: str,
        limits: Limits,
        *,
        hosts: Collection[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Fetch an address, following redirects. `headers` go to the first hop only.

        Args:
            hosts: the only hosts that may be asked, on every hop; `.example.com` is every name below it. None: any.

        Raises:
            UrlRefused: an address, here or in a redirect, that we do not go to.
            FetchFailed: not found, not public, not reached, not trusted, or too slow.
            AnswerRefused: too large, packed, another content type, too many redirects.
        """
        deadline = time.monotonic() + limits.seconds_max
        return self._follow(url, _Request("GET", None, headers or {}, limits, hosts, deadline))

    def post(
        self,
        url: str,
        body: bytes,
        limits: Limits,
        *,
        hosts: Collection[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send `body`, once. A redirect is not followed: it is the answer.

        Raises:
            As `get`. After FetchFailed and AnswerRefused, the other side may or may not have acted.
        """
        deadline = time.monotonic() + limits.seconds_max
        request = _Request("POST", body, headers or {}, limits, hosts, deadline)
        return self._once(self._parse(url, request), request)[0]

    def _follow(self, url: str, request: _Request) -> Answer:
        target = self._parse(url, request)
        for _ in range(request.limits.redirects_max + 1):
            answer, location = self._once(target, request)
            if answer.status not in REDIRECTS or not location:
                return answer
            target = urls.follow(target, location, local_ports=self._local_ports)
            _refuse_other_hosts(target, request)
            # Whoever is sent elsewhere gets nothing that was meant for the first host.
            request = _Request("GET", None, {}, request.limits, request.hosts, request.deadline)
        raise AnswerRefused(f"This address redirects more than {request.limits.redirects_max} times.")

    def _parse(self, url: str, request: _Request) -> Target:
        target = urls.parse(url, local_ports=self._local_ports)
        _refuse_other_hosts(target, request)
        return target

    def _once(self, target: Target, request: _Request) -> tuple[Answer, str]:
        try:
            return self._exchange(target, self._checked(target, request), request)
        except (OSError, HTTPError, HTTPException, ValueError) as error:
            # ValueError: what the libraries below raise for an answer that is not HTTP.
            logger.info("fetch_failed", host=target.host, error=f"{type(error).__name__}: {error}"[:300])
            raise FetchFailed(f"{target.host}: {type(error).__name__}: {error}") from error

    def _checked(self, target: Target, request: _Request) -> Sequence[str]:
        """The addresses of a target. One that is not public spoils all of them."""
        found = self._resolve(target.host, target.port, _seconds_left(request))[: addresses.ADDRESSES_MAX]
        if not found:
            raise OSError("no address")
        for address in found:
            if (address, target.port) not in self._local and (target.is_local or not addresses.is_public(address)):
                raise OSError(f"{address} is not public")
        return found

    def _exchange(self, target: Target, found: Sequence[str], request: _Request) -> tuple[Answer, str]:
        connection = self._connect(target, found, request)
        with _Cutter(connection.sock, request.deadline) as cutter:
            try:
                connection.request(
                    request.method,
                    target.path,
                    body=request.body,
                    headers=_headers(target, request.headers),
                    preload_content=False,
                    decode_content=False,
                )
                response = connection.getresponse()
                answer = _read(response, target, request.limits)
            finally:
                connection.close()
            # A cut line looks like the end of an answer that announced no length.
            if cutter.has_cut:
                raise TimeoutError("too slow")
            return answer, response.headers.get("Location", "")

    def _connect(self, target: Target, found: Sequence[str], request: _Request) -> HTTPConnection:
        failure: Exception = OSError("no address")
        for address in found[:CONNECTS_MAX]:
            connection = self._connection(target, address, min(CONNECT_SECONDS_MAX, _seconds_left(request)))
            try:
                connection.connect()
                if connection.sock.getpeername()[0] != address:
                    raise OSError("connected to another address")
            except (OSError, HTTPError) as error:
                connection.close()
                failure = error
                continue
            connection.sock.settimeout(_seconds_left(request))
            return connection
        raise failure

    def _connection(self, target: Target, address: str, seconds: float) -> HTTPConnection:
        if target.scheme == "http":
            return HTTPConnection(address, target.port, timeout=seconds)
        return HTTPSConnection(
            address,
            target.port,
            timeout=seconds,
            ssl_context=self._tls or _system_tls(),
            server_hostname=target.host,
        )


class _Cutter:
    """Ends a connection at its deadline. No time-out between two bytes notices a server that drips them."""

    def __init__(self, sock: socket, deadline: float) -> None:
        self._sock = sock
        self.has_cut = False
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "_Cutter":
        self._timer.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self.has_cut = True
        try:
            # Not the TLS socket's own `shutdown`: that would first take the other thread's TLS state away.
            socket.shutdown(self._sock, SHUT_RDWR)
        except OSError:
            logger.debug("already_closed")


@cache
def _system_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _headers(target: Target, more: Mapping[str, str]) -> dict[str, str]:
    ours = {"Host": target.authority, "User-Agent": AGENT, "Accept-Encoding": "identity", "Connection": "close"}
    return {**more, **ours}


def _refuse_other_hosts(target: Target, request: _Request) -> None:
    if request.hosts is not None and not urls.is_among(target.host, request.hosts):
        raise UrlRefused("This host is not on the list.", f"{target.host} is not on the list")


def _seconds_left(request: _Request) -> float:
    left = request.deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("too slow")
    return left


def _read(response: BaseHTTPResponse, target: Target, limits: Limits) -> Answer:
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise AnswerRefused("The answer is packed, although it was asked for as it is.")
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_ok = 200 <= response.status < 300
    if is_ok and limits.content_types and content_type not in limits.content_types:
        raise AnswerRefused("The answer is of another type than was asked for.", f"content type {content_type[:80]!r}")
    announced = response.headers.get("Content-Length", "")
    if announced.isdigit() and int(announced[:20]) > limits.bytes_max:
        raise AnswerRefused(f"The answer is larger than {limits.bytes_max:,} bytes.")
    body = bytearray()
    while len(body) <= limits.bytes_max and (piece := response.read(CHUNK_BYTES)):
        body += piece
    if len(body) > limits.bytes_max:
        raise AnswerRefused(f"The answer is larger than {limits.bytes_max:,} bytes.")
    return Answer(response.status, target.url, content_type, bytes(body))
