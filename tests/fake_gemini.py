"""A small Gemini over real HTTP: says what a test tells it to, remembers what it was asked.

    with switched_on(settings) as gemini:
        gemini.will(good("a red fox, morning mist"))

Without instructions every question gets the same good answer.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from types import TracebackType
from typing import Any

from django.core.cache import cache

Reply = Callable[[BaseHTTPRequestHandler], None]
TOKENS = 700


@dataclass(frozen=True)
class Question:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def words(self) -> str:
        return str(self.data["words"])

    @property
    def data(self) -> dict[str, Any]:
        return dict(json.loads(self.body["contents"][0]["parts"][0]["text"]))


class FakeGemini:
    """The server. `questions` is what it was asked, in order."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self._replies: list[Reply] = []
        self._always: Reply = good("a red fox by a lake at dawn, mist over the water, low golden light")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def will(self, *replies: Reply) -> None:
        """Answer the next questions so, one after the other."""
        self._replies.extend(replies)

    def always(self, reply: Reply) -> None:
        self._always = reply

    def __enter__(self) -> "FakeGemini":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.questions.append(Question(self.path, dict(self.headers), body))
                reply = fake._replies.pop(0) if fake._replies else fake._always
                try:
                    reply(self)
                except (BrokenPipeError, ConnectionResetError):
                    return  # nobody waits for it any more

            def log_message(self, *args: object) -> None:
                return

        return Handler


@contextmanager
def switched_on(settings: Any) -> Iterator[FakeGemini]:
    """A server whose Gemini is this one, with an empty memory."""
    import_module("google.genai")  # takes seconds on a busy machine, which are not the question's
    with FakeGemini() as server:
        settings.GEMINI_API_KEY = "test-key"
        settings.GEMINI_BASE_URL = server.url
        cache.clear()
        try:
            yield server
        finally:
            cache.clear()


def good(prompt: str, *, negative_prompt: str = "text", style: str = "", franchise: str = "", **more: object) -> Reply:
    """The structured answer that was asked for, with `more` fields that were not."""
    answer = {"prompt": prompt, "negative_prompt": negative_prompt, "style": style, "franchise": franchise, **more}
    return says(json.dumps(answer))


def says(text: str) -> Reply:
    """Whatever text, in a proper envelope."""
    return sends(200, envelope(text))


def envelope(text: str) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": TOKENS - 100, "candidatesTokenCount": 100, "totalTokenCount": TOKENS},
    }


def refuses() -> Reply:
    """The prompt was blocked."""
    return sends(
        200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"totalTokenCount": 90}}
    )


def stops_for_safety() -> Reply:
    return sends(200, {"candidates": [{"finishReason": "SAFETY", "index": 0}]})


def error(status: int, word: str = "RESOURCE_EXHAUSTED") -> Reply:
    return sends(status, {"error": {"code": status, "message": "as the test says", "status": word}})


def sends(status: int, body: object) -> Reply:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    return reply


def redirects(to: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return reply


def after(seconds: float, reply: Reply) -> Reply:
    def later(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        reply(handler)

    return later


def drips(seconds_each: float, pieces: int = 200) -> Reply:
    """Never silent for long, never done: no time-out between two bytes would notice."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        for _ in range(pieces):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(seconds_each)

    return reply


def drips_headers(seconds_each: float, pieces: int = 30) -> Reply:
    """As `drips`, before there is anything that a reader of the body could count."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Patience: ")
        for _ in range(pieces):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(seconds_each)

    return reply


def hangs_up() -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.connection.close()

    return reply
