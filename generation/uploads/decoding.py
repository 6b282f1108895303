"""The parent's side of the limited child: who starts it, feeds it, watches the clock, and believes it little.

What comes back are pixels, and the files that are kept are made here from those: nothing of a stranger's file, not
even of one that has taken its reader over, is ever stored.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

import structlog

from generation.errors import PictureRefused
from generation.training_limits import PIXELS_MAX, SIDE_PX_KEPT, SIDE_PX_MAX, SIDE_PX_MIN, UPLOAD_BYTES_MAX
from generation.uploads import wire
from generation.uploads.wire import Word
from tenkaigen.errors import DomainError

logger = structlog.get_logger(__name__)
SECONDS_MAX = 20.0  # for one file
SPENT_SECONDS_MAX = 10.0  # of a child before it is replaced: what it may spend in all is `cage.CPU_SECONDS`
CHILDREN_MAX = 2  # that read at a time in one process of ours
ROOT = Path(__file__).parents[2]
# What the kernel gives a program about us: nothing. Large blocks go back to the system as soon as they are free.
ENVIRONMENT = {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1048576"}
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from generation.uploads import child; child.main()"
# The first bytes of the three formats: whatever begins otherwise is not worth a child.
MAGIC = ((0, b"\x89PNG\r\n\x1a\n"), (0, b"\xff\xd8\xff"), (8, b"WEBP"))
COULD_NOT_BE_READ = "This picture could not be read. Save it again and upload the new file."
TEXTS = {
    Word.NO_PICTURE: "This is no PNG, JPEG or WebP picture.",
    Word.DAMAGED: "This picture is damaged. Save it again and upload the new file.",
    Word.TOO_SMALL: f"Both sides of a picture need at least {SIDE_PX_MIN} pixels.",
    Word.TOO_LARGE: (
        f"A picture may have {PIXELS_MAX // 10**6} million pixels (16 as WebP or in CMYK), {SIDE_PX_MAX:,} on a side."
    ),
    Word.MOVING: "This file holds more than one picture. Upload a still one.",
    Word.TOO_HEAVY: "Reading this picture takes too much memory. Make it smaller first.",
    Word.OTHER_SIZE: "This picture is of another size.",
}
_slots = threading.BoundedSemaphore(CHILDREN_MAX)


class Pixels(NamedTuple):
    """Rows of RGB, 8 bits each, from the top."""

    width: int
    height: int
    rgb: bytes


class UploadsBusy(DomainError):
    """Others' pictures are being read."""

    code = "uploads_busy"
    http_status = 429
    retry_after_seconds = 10


class Decoder:
    """Reads one file after the other, for one person, on one thread; the child ends with the `with` block.

    Begun when the first file needs it, and again after one that it did not survive.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._spent_seconds = 0.0

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def read(self, content: bytes) -> Pixels:
        """A picture as people see it: upright, in sRGB, on white, its longest side at most `SIDE_PX_KEPT`.

        Raises:
            PictureRefused: with the reason, also when the file has killed its reader.
            UploadsBusy: all children were at work for `SECONDS_MAX`.
        """
        return self._read(content, 0, 0)

    def read_exact(self, content: bytes, width: int, height: int) -> Pixels:
        """A picture that must have just this size, turned and coloured as it lies.

        Raises:
            As `read`.
        """
        return self._read(content, width, height)

    def _read(self, content: bytes, width: int, height: int) -> Pixels:
        if len(content) > UPLOAD_BYTES_MAX:
            raise PictureRefused(f"This file is larger than {UPLOAD_BYTES_MAX // 10**6} MB.")
        if not any(content.startswith(magic, at) for at, magic in MAGIC):
            raise PictureRefused(TEXTS[Word.NO_PICTURE])
        if not _slots.acquire(timeout=SECONDS_MAX):
            raise UploadsBusy("Many pictures are being read at the moment. Try again in a few seconds.")
        try:
            return self._ask(content, width, height)
        finally:
            _slots.release()

    def _ask(self, content: bytes, width: int, height: int) -> Pixels:
        if self._spent_seconds > SPENT_SECONDS_MAX:
            self._end()
        began = time.monotonic()
        is_new = self._child is None
        child = self._child = self._child or _start()
        clock = threading.Timer(SECONDS_MAX, child.kill)
        clock.daemon = True
        clock.start()
        try:
            if is_new:
                _greet(child)
            return _exchange(child, content, width, height)
        except (OSError, ValueError) as error:
            self._end()
            logger.warning("upload_reader_died", error=str(error)[:100], status=child.returncode, bytes=len(content))
            raise PictureRefused(COULD_NOT_BE_READ) from error
        finally:
            clock.cancel()
            self._spent_seconds += time.monotonic() - began

    def _end(self) -> None:
        if self._child is None:
            return
        child, self._child, self._spent_seconds = self._child, None, 0.0
        child.kill()
        # Not `communicate`: what it still has to say interests nobody.
        for pipe in (child.stdin, child.stdout):
            _close(pipe)
        child.wait()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-B", "-c", PROGRAM, str(ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )


def _greet(child: subprocess.Popen[bytes]) -> None:
    assert child.stdout
    if _exactly(child.stdout, 1) != wire.HELLO_LOCKED:
        logger.warning("upload_reader_is_not_locked")


def _exchange(child: subprocess.Popen[bytes], content: bytes, width: int, height: int) -> Pixels:
    """Raises: PictureRefused; OSError or ValueError, the child is gone or talks nonsense."""
    assert child.stdin and child.stdout
    child.stdin.write(wire.REQUEST.pack(len(content), width, height))
    child.stdin.write(content)
    child.stdin.flush()
    answer = _exactly(child.stdout, wire.ANSWER.size)
    word, found_width, found_height = wire.ANSWER.unpack(answer)
    if Word(word) != Word.PIXELS:
        raise PictureRefused(TEXTS[Word(word)])
    is_kept_size = 0 < found_width <= SIDE_PX_KEPT and 0 < found_height <= SIDE_PX_KEPT
    if not ((found_width, found_height) == (width, height) if width else is_kept_size):
        raise ValueError("pixels of a size that nobody asked for")
    return Pixels(found_width, found_height, _exactly(child.stdout, found_width * found_height * 3))


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    found = pipe.read(count)
    if len(found) != count:
        raise OSError("the child has ended")
    return found


def _close(pipe: IO[bytes] | None) -> None:
    try:
        if pipe:
            pipe.close()
    except BrokenPipeError:
        logger.debug("child_was_gone")  # closing flushes, and nobody reads any more
