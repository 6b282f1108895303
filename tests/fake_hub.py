"""A small model hub over real HTTP on loopback: commits, large files behind a redirect to a second server, and faults.

    with FakeHub() as hub:
        revision = hub.commit("toys/tiny", {"model_index.json": b"{}", "unet/model.safetensors": weights})
        hub.store_faults["unet/model.safetensors"] = [cut(1000), status(503)]

Each fault spoils one answer; then the file comes as it should. `seen` is what was asked for, in order.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

Fault = Callable[["Exchange"], None]


@dataclass
class Exchange:
    """One request, and what was answered."""

    server: str  # "hub" or "store"
    path: str  # in the repository, or "list OWNER/NAME"
    contents: bytes
    handler: BaseHTTPRequestHandler
    start: int = 0
    sent: int = 0

    @property
    def authorization(self) -> str:
        return str(self.handler.headers.get("Authorization", ""))

    def answer(self, contents: bytes | None = None, *, bytes_max: int | None = None) -> None:
        """Send the contents from `start`, honestly announced; stop dead after `bytes_max`."""
        body = (self.contents if contents is None else contents)[self.start :]
        self.handler.send_response(206 if self.start else 200)
        if self.start:
            last, total = len(self.contents) - 1, len(self.contents)
            self.handler.send_header("Content-Range", f"bytes {self.start}-{last}/{total}")
        self.handler.send_header("Content-Length", str(len(body)))
        self.handler.end_headers()
        piece = body[:bytes_max]
        self.sent = len(piece)
        self.handler.wfile.write(piece)
        self.handler.wfile.flush()
        if len(piece) < len(body):
            self.handler.close_connection = True


def cut(after: int) -> Fault:
    """The line breaks after so many bytes."""
    return lambda exchange: exchange.answer(bytes_max=after)


def status(code: int, **headers: str) -> Fault:
    def fault(exchange: Exchange) -> None:
        exchange.handler.send_response(code)
        for name, value in {**headers, "Content-Length": "0"}.items():
            exchange.handler.send_header(name.replace("_", "-"), value)
        exchange.handler.end_headers()

    return fault


def sends(contents: bytes) -> Fault:
    """Something else than the file."""
    return lambda exchange: exchange.answer(contents)


def ignores_the_range() -> Fault:
    def fault(exchange: Exchange) -> None:
        exchange.start = 0
        exchange.answer()

    return fault


def is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".bin", ".ckpt"))


def read_folder(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


class FakeHub:
    """The hub and, on a port of its own, the store that large files are redirected to."""

    def __init__(self) -> None:
        self.commits: dict[tuple[str, str], dict[str, bytes]] = {}
        self.newest: dict[str, str] = {}
        self.faults: dict[str, list[Fault]] = defaultdict(list)  # by path in the repository
        self.store_faults: dict[str, list[Fault]] = defaultdict(list)
        self.listing_faults: list[Fault] = []
        self.seen: list[Exchange] = []
        self.redirect_to = ""  # instead of the store
        self._servers = {name: ThreadingHTTPServer(("127.0.0.1", 0), self._handler(name)) for name in ("hub", "store")}
        self.url, self.store_url = (f"http://127.0.0.1:{server.server_port}" for server in self._servers.values())

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """Make a new newest revision with just these files."""
        revision = hashlib.sha1(json.dumps([repository, len(self.commits)]).encode()).hexdigest()
        self.commits[repository, revision] = dict(files)
        self.newest[repository] = revision
        return revision

    def fetched(self, path: str) -> list[Exchange]:
        """The requests that sent bytes of a file."""
        return [seen for seen in self.seen if seen.path == path and seen.sent]

    def __enter__(self) -> FakeHub:
        for server in self._servers.values():
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def _handler(self, name: str) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    fake._list(self) if self.path.startswith("/api/") else fake._send(self, name)
                except (BrokenPipeError, ConnectionResetError):
                    return

            def log_message(self, *args: object) -> None:
                return

        return Handler

    def _list(self, handler: BaseHTTPRequestHandler) -> None:
        found = re.fullmatch(r"/api/models/(.+)/revision/([^/]+)", unquote(urlsplit(handler.path).path))
        assert found is not None and "blobs=true" in handler.path
        repository, revision = found[1], self.newest.get(found[1], "") if found[2] == "main" else found[2]
        exchange = Exchange("hub", f"list {repository}", self._listing(repository, revision), handler)
        self.seen.append(exchange)
        if self.listing_faults:
            self.listing_faults.pop(0)(exchange)
        elif (repository, revision) not in self.commits:
            status(404)(exchange)
        else:
            exchange.answer()

    def _listing(self, repository: str, revision: str) -> bytes:
        files = self.commits.get((repository, revision), {})
        siblings = [_sibling(path, contents) for path, contents in files.items()]
        return json.dumps({"id": repository, "sha": revision, "siblings": siblings}).encode()

    def _send(self, handler: BaseHTTPRequestHandler, server: str) -> None:
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)", unquote(urlsplit(handler.path).path))
        assert found is not None
        start = int(re.sub(r"\D", "", handler.headers.get("Range", "")) or 0)
        exchange = Exchange(server, found[3], self.commits[found[1], found[2]][found[3]], handler, start)
        self.seen.append(exchange)
        faults = self.faults[exchange.path] if server == "hub" else self.store_faults[exchange.path]
        if faults:
            faults.pop(0)(exchange)
        elif server == "hub" and is_large(exchange.path):
            status(302, Location=self.redirect_to or self.store_url + handler.path)(exchange)
        else:
            exchange.answer()


def _sibling(path: str, contents: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": path, "size": len(contents)}
    if is_large(path):
        pointer = b"version https://git-lfs.github.com/spec/v1\n"
        lfs = {"sha256": hashlib.sha256(contents).hexdigest(), "size": len(contents), "pointerSize": len(pointer)}
        return entry | {"lfs": lfs, "blobId": hashlib.sha1(pointer).hexdigest()}
    return entry | {"blobId": hashlib.sha1(b"blob %d\0" % len(contents) + contents).hexdigest()}
