"""A keep-alive client that costs next to nothing, so that what it measures is the server."""

from __future__ import annotations

import re
import socket
from types import TracebackType

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
CHUNK_BYTES = 262_144
ANSWER_SECONDS_MAX = 30


class Connection:
    """One connection that asks one question after the other. Every answer must say its length."""

    def __init__(self, port: int, *headers: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = "".join(f"{line}\r\n" for line in (f"Host: 127.0.0.1:{port}", *headers))

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def get(self, path: str) -> bytes:
        """The whole answer, head and body."""
        return self.exchange(self.request(path))

    def request(self, path: str) -> bytes:
        """A question, for `exchange` to repeat."""
        return f"GET {path} HTTP/1.1\r\n{self._headers}\r\n".encode()

    def exchange(self, request: bytes) -> bytes:
        self._socket.sendall(request)
        answer = bytearray()
        length = -1
        while length < 0 or len(answer) < length:
            if not (chunk := self._socket.recv(CHUNK_BYTES)):
                raise ConnectionError("the server hung up")
            answer += chunk
            if length < 0 and (head_end := answer.find(b"\r\n\r\n")) >= 0:
                length = head_end + 4 + int(LENGTH.search(answer)[1])  # type: ignore[index]
        return bytes(answer)
