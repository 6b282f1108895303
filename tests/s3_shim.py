"""An S3 that misbehaves: moto over HTTP, and before it a proxy that breaks one request after the other as it is told.

moto checks no signature and no expiry. What a link must say is therefore asserted on the link.
"""

import logging
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

BUCKET = "pictures"
REGION = "us-west-004"
KEY, SECRET = "a-key-id", "a-secret-key"
STALL_SECONDS_MAX = 30
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    status: int | None = None


@dataclass
class Shim:
    """What the proxy has seen, and what it will do to the next requests of a method."""

    url: str
    moto: tuple[str, int]
    seen: list[Request] = field(default_factory=list)
    faults: dict[str, deque[Callable[["Handler"], None]]] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)
    # Every real store refuses to list a private bucket without a signature; moto lists it.
    is_listing_private: bool = True
    # How a read without a signature is answered; None: by moto.
    unsigned: Callable[["Handler"], None] | None = None

    def break_next(self, method: str, *faults: Callable[["Handler"], None]) -> None:
        self.faults.setdefault(method, deque()).extend(faults)

    def next_fault(self, method: str) -> Callable[["Handler"], None] | None:
        waiting = self.faults.get(method)
        return waiting.popleft() if waiting else None

    def calls(self, method: str) -> list[Request]:
        return [request for request in self.seen if request.method == method]


def answer(status: int) -> Callable[["Handler"], None]:
    """Answer without asking the store."""

    def fault(handler: "Handler") -> None:
        handler.read_body()
        code = {403: b"AccessDenied", 501: b"NotImplemented", 503: b"SlowDown"}.get(status, b"InternalError")
        handler.reply(status, b"<Error><Code>" + code + b"</Code></Error>")

    return fault


def store_then_answer(status: int) -> Callable[["Handler"], None]:
    """Let the store do it, and say it went wrong."""

    def fault(handler: "Handler") -> None:
        handler.ask_store(handler.read_body())
        handler.reply(status, b"<Error><Code>InternalError</Code></Error>")

    return fault


def stall(handler: "Handler") -> None:
    """Take the request and say nothing."""
    handler.read_body()
    handler.shim.released.wait(STALL_SECONDS_MAX)
    handler.hang_up()


def cut_upload(after_bytes: int) -> Callable[["Handler"], None]:
    """Take so many bytes of the body, then reset the connection."""

    def fault(handler: "Handler") -> None:
        handler.rfile.read(after_bytes)
        handler.hang_up()

    return fault


def cut_answer(after_bytes: int) -> Callable[["Handler"], None]:
    """Announce the whole file, send so many bytes of it, then reset the connection."""

    def fault(handler: "Handler") -> None:
        status, headers, content = handler.ask_store(handler.read_body())
        handler.reply(status, content[:after_bytes], headers, length=len(content))
        handler.wfile.flush()
        handler.hang_up()

    return fault


def is_signed(path: str, headers: dict[str, str]) -> bool:
    return "authorization" in headers or "X-Amz-Signature=" in path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shim: Shim

    def pass_on(self) -> None:
        names = {name.lower(): value for name, value in self.headers.items()}
        self.shim.seen.append(Request(self.command, self.path, names))
        fault = self.shim.next_fault(self.command)
        is_listing = "/" not in urlsplit(self.path).path.strip("/") and self.command == "GET"
        if is_listing and self.shim.is_listing_private and "authorization" not in names:
            fault = answer(403)
        if self.shim.unsigned and self.command == "GET" and not is_signed(self.path, names):
            fault = self.shim.unsigned
        if fault:
            fault(self)
            return
        status, headers, content = self.ask_store(self.read_body())
        self.reply(status, content, headers)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def ask_store(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = HTTPConnection(*self.shim.moto, timeout=STALL_SECONDS_MAX)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {*HOP_BY_HOP, "expect"}}
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, response.getheaders(), content

    def reply(
        self, status: int, content: bytes, headers: list[tuple[str, str]] | None = None, length: int | None = None
    ) -> None:
        self.send_response_only(status)
        own_length = str(len(content) if length is None else length)
        for name, value in headers or []:
            if name.lower() == "content-length":
                own_length = value if self.command == "HEAD" else own_length
            elif name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", own_length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def hang_up(self) -> None:
        """Close with a reset, as a dead machine's router does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that gave up waiting, or the reset we made ourselves


@contextmanager
def running() -> Iterator[Shim]:
    """moto and the proxy on free ports of loopback, with one empty bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's own line for every request
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    shim = Shim(url="", moto=(host, port))
    server = Server(("127.0.0.1", 0), type("Handler", (Handler,), {"shim": shim}))
    shim.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, name="s3-shim", daemon=True).start()
    try:
        yield shim
    finally:
        shim.released.set()
        server.shutdown()
        server.server_close()
        moto.stop()


@cache  # making one takes a quarter of a second
def client_of(url: str) -> Any:
    """A plain client of the test's own, past everything the product does."""
    return boto3.client("s3", endpoint_url=url, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=SECRET)


def put_quickly(key: str) -> None:
    """Put a small file into moto's memory, past HTTP: a thousand of them would take a quarter of a minute."""
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(BUCKET, key, b"x")


def empty(shim: Shim) -> None:
    """Begin anew: one empty bucket, nothing seen, nothing broken."""
    s3_backends.reset()
    direct_client(shim).create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    shim.seen.clear()
    shim.faults.clear()
    shim.is_listing_private, shim.unsigned = True, None


def direct_client(shim: Shim) -> Any:
    """A plain client of moto itself: what the store really holds."""
    return client_of("http://{}:{}".format(*shim.moto))


def storage_options(shim: Shim, **changes: Any) -> dict[str, Any]:
    return {
        "endpoint_url": shim.url,
        "region_name": REGION,
        "bucket_name": BUCKET,
        "access_key": KEY,
        "secret_key": SECRET,
        "read_seconds": 5,  # whoever is not silent answers within that on a busy machine, too
        **changes,
    }


def storage_setting(shim: Shim, **changes: Any) -> dict[str, Any]:
    """What STORAGES["default"] is with the bucket behind the proxy."""
    return {"BACKEND": "generation.s3.PrivateBucket", "OPTIONS": storage_options(shim, **changes)}
