"""A small web server on loopback whose every path answers as a test says, and that remembers what it was asked.

    with FakeWeb() as web:
        web.answers["/a.png"] = sends(200, b"...", content_type="image/png")

A path may have several answers, one after the other; the last one stays.
"""

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Reply = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class FakeWeb:
    """The server. `asked` is what came, in order; `connections` counts every socket, also one that asked nothing."""

    def __init__(self, *, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.answers: dict[str, Reply | list[Reply]] = {}
        self._server = ThreadingHTTPServer((address, 0), self._handler())
        self._server.daemon_threads = True
        # A refused handshake is what some tests are about: no traceback on their screen.
        self._server.handle_error = lambda *args: None
        self._tls = tls
        self.address, self.port = address, self._server.server_port
        self.url = f"{'https' if tls else 'http'}://{address}:{self.port}"

    @property
    def place(self) -> tuple[str, int]:
        return self.address, self.port

    def __enter__(self) -> "FakeWeb":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._server.shutdown()
        self._server.server_close()

    def answer_to(self, asked: Asked) -> Reply:
        """What to say; tests that need more than a table override it."""
        reply = self.answers.get(asked.path.partition("?")[0], sends(404, b"nothing here"))
        if isinstance(reply, list):
            return reply.pop(0) if len(reply) > 1 else reply[0]
        return reply

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def setup(self) -> None:
                fake.connections += 1
                if fake._tls:
                    self.request = fake._tls.wrap_socket(self.request, server_side=True)
                super().setup()

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.command, self.path, dict(self.headers), body)
                fake.asked.append(asked)
                try:
                    fake.answer_to(asked)(self)
                except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                    self.close_connection = True  # nobody waits for it any more

            do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the base class's names

            def log_message(self, *args: object) -> None:
                return

        return Handler


def sends(status: int, body: bytes, *, content_type: str = "text/plain", **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **more}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def redirects(to: str, status: int = 302) -> Reply:
    return sends(status, b"", Location=to)


def streams(piece: bytes, pieces: int, *, seconds_each: float = 0, content_type: str = "image/png") -> Reply:
    """An answer that announces no length and ends when the line is closed."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", content_type)
        handler.end_headers()
        for _ in range(pieces):
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(seconds_each)

    return reply


def raw(piece: bytes, pieces: int = 1, *, seconds_each: float = 0) -> Reply:
    """Whatever bytes, from the status line on."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        for _ in range(pieces):
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(seconds_each)

    return reply


def after(seconds: float, reply: Reply) -> Reply:
    def later(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        reply(handler)

    return later


def hangs_up() -> Reply:
    def reply(handler: Any) -> None:
        handler.close_connection = True
        handler.connection.close()

    return reply
