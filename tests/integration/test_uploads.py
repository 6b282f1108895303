"""Training pictures come in: hostile files, what is kept of good ones, and what the reader can and cannot do."""

import functools
import io
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image as Pillow
from PIL import ImageCms

from accounts.models import ApiKey
from generation import storage
from generation.custom import pictures
from generation.errors import PictureRefused
from generation.models import TrainingImage
from generation.uploads import cage, decoding, wire
from generation.uploads.decoding import Decoder
from tests import hostile_files
from tests.custom import make_draft
from tests.factories import make_user
from tests.hostile_files import CANARY, ORIENTATION, encoded, idat, ihdr, scene
from tests.integration.program import Program

MB = 1_000_000
SECONDS_EACH_MAX = 5
NOTHING_ELSE = {b"IHDR", b"IDAT", b"IEND"}
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]


@pytest.fixture
def user():
    return make_user()


@pytest.fixture
def model(user):
    return make_draft(user, pictures=0)


@pytest.fixture
def peaks(monkeypatch):
    """The most memory that every child has used by its end, in bytes."""
    found = []
    end = Decoder._end

    def note(decoder):
        if decoder._child and decoder._child.poll() is None:
            found.append(memory(decoder._child.pid, "VmHWM"))
        end(decoder)

    monkeypatch.setattr(Decoder, "_end", note)
    return found


def memory(process: int | str, what: str) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) * 1024


def forget_peak() -> int:
    """Begin this process' own peak anew; what it uses now."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("self", "VmRSS")


class Timed(io.BytesIO):
    """A file that notes when it is read."""

    at: float = 0

    def read(self, size=-1):
        self.at = time.monotonic()
        return super().read(size)


def send(model, user, files):
    """What became of files, of which the slowest took no longer than anybody would wait."""
    timed = [(name, Timed(content)) for name, content in files]
    result = pictures.add_files(model, user=user, files=timed)
    moments = [file.at for _, file in timed] + [time.monotonic()]
    assert max(after - before for before, after in pairwise(moments)) < SECONDS_EACH_MAX
    return result


def stored(model):
    return sorted(storage.walk(f"models/{model.team_id}/{model.pk}"))


def chunks_of(content):
    at, kinds = 8, set()
    while at < len(content):
        kinds.add(content[at + 4 : at + 8])
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return kinds


@functools.cache
def refused_files():
    return list(hostile_files.refused())


def in_40s(files):
    return [files[at : at + 40] for at in range(0, len(files), 40)]


# --- Hostile files --------------------------------------------------------------------------------------------------
def test_what_is_no_picture_is_refused_with_a_reason_and_leaves_nothing(model, user, peaks):
    files = refused_files()
    assert len(files) >= 60
    before = forget_peak()
    for part in in_40s(files):
        result = send(model, user, part)
        assert result.added == [] and [refused.name for refused in result.refused] == [name for name, _ in part]
        reasons = {refused.reason for refused in result.refused}
        assert reasons <= {*decoding.TEXTS.values(), "This file is larger than 20 MB."}
    assert stored(model) == [] and not TrainingImage.objects.exists()
    assert peaks and max(peaks) <= 400 * MB and memory("self", "VmHWM") - before <= 400 * MB


def test_hostile_files_are_answered_in_words(user, model, monkeypatch):
    """Through the door that programs use, with their names and all. What the reader says of each is told above."""

    def refuse(*given):
        raise PictureRefused(decoding.COULD_NOT_BE_READ)

    monkeypatch.setattr(Decoder, "_ask", refuse)
    program, files = Program(user), refused_files()
    ApiKey.objects.update(scopes=["train"])
    for part in in_40s(files):
        form = {"files": [SimpleUploadedFile(name, content) for name, content in part]}
        answer = program.client.post(f"/api/v1/models/{model.pk}/images", form)
        assert (answer.status_code, answer.json()["code"]) == (422, "picture_refused")
    assert stored(model) == []


def test_of_a_hostile_picture_only_its_pixels_are_kept(user, peaks):
    files = list(hostile_files.taken())
    assert sum(CANARY in content for _, content in files) >= 38  # in a packed profile it cannot be seen
    before = forget_peak()
    for part in in_40s(files):
        model = make_draft(user, pictures=0)
        result = send(model, user, part)
        assert result.refused == [] and len(result.added) == len(part)
        assert len(stored(model)) == 2 * len(part)
        for (_, sent), picture in zip(part, result.added, strict=True):
            base = f"models/{model.team_id}/{model.pk}/images/{picture.pk}"
            assert (picture.key, picture.thumbnail_key) == (f"{base}.png", f"{base}.thumbnail.webp")
            kept, thumbnail = storage.read(picture.key), storage.read(picture.thumbnail_key)
            assert chunks_of(kept) == NOTHING_ELSE and len(kept) + len(thumbnail) == picture.size_bytes
            assert thumbnail[8:16] == b"WEBPVP8 "
            for content in (kept, thumbnail):
                assert CANARY not in content and CANARY[:10] not in content and sent not in content
    assert max(peaks) <= 400 * MB and memory("self", "VmHWM") - before <= 400 * MB


def test_hostile_names_are_made_safe_to_show(model, user):
    names = [
        "../../../etc/passwd",
        "C:\\win.ini",
        "a\nSet-Cookie: x=1\r\n.png",
        "\u202egnp.exe",
        "",
        "x" * 5000,
        "\ud800",
    ]
    result = pictures.add_files(model, user=user, files=[(name, b"") for name in names])
    assert [refused.name for refused in result.refused] == [
        "passwd", "win.ini", "a Set-Cookie: x=1 .png", "gnp.exe", "a file without a name", "x" * 79 + "…",
        "a file without a name",
    ]  # fmt: skip


def test_the_heaviest_pictures_we_take_need_less_than_400_mb(peaks):
    """Just below every limit; one child has them all, so that what it keeps of one would add to the next."""
    sides, plain = (7300, 5400), Pillow.new("RGB", (7300, 5400), "teal")
    heavy = {
        "progressive": encoded(plain, "JPEG", progressive=True, subsampling=0, quality=30),
        "clear": hostile_files.SIGNATURE + ihdr(*sides, colour=6) + idat(4 * 7300, 5400) + hostile_files.chunk(b"IEND"),
        "webp": encoded(Pillow.new("RGBA", (4096, 4096), "teal"), "WEBP", method=0, lossless=True, quality=0),
    }
    del plain
    before = forget_peak()
    with Decoder() as decoder:
        sizes = {name: decoder.read(content)[:2] for name, content in heavy.items()}
    assert sizes == {"progressive": (1536, 1136), "clear": (1536, 1136), "webp": (1536, 1536)}
    assert 200 * MB < max(peaks) <= 400 * MB and memory("self", "VmHWM") - before <= 400 * MB


# --- What a picture looks like ---------------------------------------------------------------------------------------
def read(content):
    with Decoder() as decoder:
        pixels = decoder.read(content)
    return Pillow.frombytes("RGB", pixels[:2], pixels.rgb)


def test_pictures_are_turned_as_their_exif_says():
    """A corner is red: whichever way the camera was held, it comes out at the top left of a lying picture."""
    upright = Pillow.new("RGB", (192, 128), "white")
    upright.paste("red", (0, 0, 64, 64))
    held = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transpose that undoes each
    with Decoder() as decoder:
        for orientation, undo in held.items():
            exif = Pillow.Exif()
            exif[ORIENTATION] = orientation
            lying = upright if undo is None else upright.transpose(Pillow.Transpose(undo))
            for kind in ("PNG", "JPEG", "WEBP"):
                pixels = decoder.read(encoded(lying, kind, exif=exif))
                seen = Pillow.frombytes("RGB", pixels[:2], pixels.rgb)
                assert seen.size == (192, 128), orientation
                corners = [seen.getpixel(at) for at in ((20, 20), (170, 20), (20, 110), (170, 110))]
                assert [green < 60 for _, green, _ in corners] == [True, False, False, False], (orientation, kind)


def swapped_profile():
    """sRGB with red and green changed places: whoever heeds it sees red as green."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return srgb.replace(b"rXYZ", b"####").replace(b"gXYZ", b"rXYZ").replace(b"####", b"gXYZ")


def test_colours_come_out_as_people_saw_them():
    side = (128, 128)
    half = Pillow.new("RGBA", side, (255, 0, 0, 128))
    palette = Pillow.new("P", side, 1)
    palette.putpalette([0, 0, 0, 10, 20, 200])
    expected = [
        (encoded(Pillow.new("CMYK", side, (0, 255, 255, 0)), "JPEG", quality=95), (255, 0, 0)),
        (encoded(Pillow.new("I;16", side, 257 * 100), "PNG"), (100, 100, 100)),
        (encoded(Pillow.new("1", side, 1), "PNG"), (255, 255, 255)),
        (encoded(half, "PNG"), (255, 127, 127)),
        (encoded(half.convert("LA"), "PNG"), (165, 165, 165)),
        (encoded(palette, "PNG"), (10, 20, 200)),
        (encoded(palette, "PNG", transparency=1), (255, 255, 255)),
        (encoded(Pillow.new("RGB", side, "red"), "PNG", icc_profile=swapped_profile()), (0, 255, 0)),
        (encoded(Pillow.new("RGB", side, "red"), "PNG", icc_profile=swapped_profile()[:99]), (255, 0, 0)),
    ]
    for content, colour in expected:
        found = read(content).getpixel((64, 64))
        assert max(abs(one - other) for one, other in zip(found, colour, strict=True)) <= 3, (found, colour)


def test_large_pictures_are_made_smaller_and_small_ones_are_left():
    assert read(encoded(scene(size=(3072, 1000)), "PNG")).size == (1536, 500)
    assert read(encoded(scene(size=(4000, 6500)), "PNG", compress_level=1)).size == (945, 1536)
    assert read(encoded(scene(size=(128, 1536)), "PNG")).tobytes() == scene(size=(128, 1536)).tobytes()


# --- The reader -----------------------------------------------------------------------------------------------------
GOOD = encoded(scene(), "PNG")


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.kill(os.getpid(), 9)",
        "import sys; sys.exit(0)",
        "import time; time.sleep(60)",
        "import sys; sys.stdout.buffer.write(b'\\1' + b'\\xff' * 9)",
        "import sys; sys.stdout.buffer.write(b'\\1' + b'\\0' * 9)",
        "import sys; sys.stdout.buffer.write(b'\\1\\0' + b'\\0\\0\\xff\\xff' * 2 + b'x' * 99999)",
        "import sys; sys.stdout.buffer.write(b'\\1\\0' + b'\\0\\0\\0\\x80' * 2 + b'too little')",
        "bytearray(10**9)",
    ],
    ids=["killed", "gone", "silent", "nonsense", "no-pixels", "too-many-pixels", "too-few-pixels", "hungry"],
)
def test_whatever_happens_to_the_reader_is_a_refusal_and_the_next_file_is_read(model, user, monkeypatch, program):
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "PROGRAM", program)
        patch.setattr(decoding, "SECONDS_MAX", 0.4)
        result = pictures.add_files(model, user=user, files=[("a.png", GOOD)])
        assert [refused.reason for refused in result.refused] == [decoding.COULD_NOT_BE_READ]
    with Decoder() as decoder:
        assert decoder.read(GOOD)[:2] == (160, 160)
        decoder._child.kill()
        with pytest.raises(PictureRefused):
            decoder.read(GOOD)
        assert decoder.read(GOOD)[:2] == (160, 160)


TRIES = """
import errno, os, socket, sys
sys.path.insert(0, sys.argv[1])
from generation.uploads import cage, pixels
cage.limit()
print("locked", cage.lock())
tries = {
    "read a file": lambda: open("/etc/hostname"), "write a file": lambda: open("/tmp/tenkaigen-out", "w"),
    "list": lambda: os.listdir("/"), "remove": lambda: os.unlink("/tmp/tenkaigen-out"), "fork": os.fork,
    "run": lambda: os.execv("/bin/true", ["true"]), "connect": lambda: socket.socket(),
    "end another": lambda: os.kill(1, 0), "limit another": lambda: os.nice(1),
}
for name, attempt in tries.items():
    try:
        attempt()
        print(name, "worked")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
try:
    bytearray(500_000_000)
except MemoryError:
    print("memory refused")
print("secrets", sorted(os.environ), [name for name in sys.modules if name.startswith(("django", "tenkaigen"))])
"""


def test_the_reader_can_do_nothing_but_compute():
    command = [sys.executable, "-I", "-B", "-c", TRIES, str(decoding.ROOT)]
    run = subprocess.run(command, env=decoding.ENVIRONMENT, cwd="/", capture_output=True, text=True, timeout=60)
    said = dict(line.rsplit(" ", 1) for line in run.stdout.splitlines()[:-1])
    assert said.pop("locked") == "True" and said.pop("memory") == "refused", run.stderr
    assert said == dict.fromkeys(said, "EPERM") and len(said) == 9
    assert run.stdout.splitlines()[-1] == f"secrets {sorted(decoding.ENVIRONMENT)} []"


def test_a_child_that_has_worked_long_is_replaced(monkeypatch):
    monkeypatch.setattr(decoding, "SPENT_SECONDS_MAX", 0)
    with Decoder() as decoder:
        decoder.read(GOOD)
        first = decoder._child.pid
        decoder.read(GOOD)
        assert decoder._child.pid != first
    assert decoder._child is None and cage.CPU_SECONDS > 0


def test_when_all_readers_are_at_work_the_call_says_when_to_come_again(model, user, monkeypatch):
    monkeypatch.setattr(decoding, "SECONDS_MAX", 0.05)
    for _ in range(decoding.CHILDREN_MAX):
        decoding._slots.acquire()
    try:
        with pytest.raises(decoding.UploadsBusy), Decoder() as decoder:
            decoder.read(GOOD)
        result = pictures.add_files(model, user=user, files=[("a.png", GOOD), ("b.png", b"")])
    finally:
        decoding._slots.release(decoding.CHILDREN_MAX)
    assert [refused.reason[:26] for refused in result.refused] == ["Many pictures are being re"] * 2
    assert (result.end.code, result.end.retry_after_seconds) == ("uploads_busy", 10)


def test_exact_pixels_are_of_the_size_that_was_asked_for():
    with Decoder() as decoder:
        assert decoder.read_exact(GOOD, 160, 160).rgb == scene().tobytes()
        with pytest.raises(PictureRefused, match="another size"):
            decoder.read_exact(GOOD, 160, 161)
    assert wire.REQUEST.size == 12 and wire.ANSWER.size == 9
