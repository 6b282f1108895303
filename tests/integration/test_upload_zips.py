"""Zips of training pictures: what is inside is counted while it is unpacked, and judged file by file."""

import io
import os
import stat
import struct
import time
import zipfile

import pytest

from generation import storage
from generation.custom import pictures
from generation.errors import PictureRefused
from generation.models import TrainingImage
from generation.uploads import zips
from tests.custom import make_draft
from tests.factories import make_user
from tests.hostile_files import CANARY, encoded, scene, zipped

PICTURE = encoded(scene(), "PNG")
CLIMBS = "This file's name leads out of the zip."
LINK = "This is a link or a device, not a file."
DAMAGED = "This file of the zip is damaged."
OTHER_PACKING = "This file is packed in a way that we do not read."
TOO_LARGE = "This file is larger than 20 MB."


def unnamed(value):
    """A zip holds its time, and two processes must call a test the same."""
    return "zip" if isinstance(value, bytes) else None


def unpacked(content):
    return list(zips.entries(io.BytesIO(content)))


def refusals(content):
    return [(entry.name, entry.refusal) for entry in unpacked(content) if entry.refusal]


def odd(name, content=PICTURE, *, mode=0, system=3, packing=zipfile.ZIP_DEFLATED):
    """A zip of one entry that is of another kind than a plain file."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr, info.compress_type = system, mode << 16, packing
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, content)
    return buffer.getvalue()


def patched(content, *, flags=None, size=None, method=None):
    """Change what the first entry says of itself, in both of its headers."""
    content = bytearray(content)
    for at, shift in ((content.index(b"PK\3\4"), 0), (content.index(b"PK\1\2"), 2)):
        if flags is not None:
            struct.pack_into("<H", content, at + 6 + shift, flags)
        if method is not None:
            struct.pack_into("<H", content, at + 8 + shift, method)
        if size is not None:
            struct.pack_into("<I", content, at + 22 + shift, size)
    return bytes(content)


def test_every_file_of_a_zip_is_taken_without_its_folders_and_notes():
    files = {"a.png": b"1", "trip/day 1/b.jpg": b"2", "trip/": b"", "__MACOSX/._a.png": b"x", "trip/.DS_Store": b"x"}
    assert unpacked(zipped(files)) == [zips.Entry("a.png", b"1"), zips.Entry("trip/day 1/b.jpg", b"2")]
    assert unpacked(zipped({})) == [] and unpacked(zipped({"a": b"1"})[:-2] + b"\3\0end") == [zips.Entry("a", b"1")]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        *[(name, zipped({name: PICTURE}), CLIMBS) for name in ("../a.png", "a/../../b.png", "/etc/passwd", "C:/a.png")],
        ("..\\a.png", zipped({"..\\a.png": PICTURE}), CLIMBS),
        ("link.png", odd("link.png", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), LINK),
        ("pipe.png", odd("pipe.png", mode=stat.S_IFIFO), LINK),
        ("disk.png", odd("disk.png", mode=stat.S_IFBLK), LINK),
        ("a.png", patched(zipped({"a.png": PICTURE}), flags=1), "This file needs a password."),
        ("a.png", patched(zipped({"a.png": PICTURE}), method=99), OTHER_PACKING),
        ("a.png", zipped({"a.png": PICTURE}, zipfile.ZIP_BZIP2), OTHER_PACKING),
        ("a.png", zipped({"a.png": PICTURE}, zipfile.ZIP_LZMA), OTHER_PACKING),
        ("in.zip", zipped({"in.zip": zipped({"a.png": PICTURE})}), "This is an archive inside the zip."),
        ("in.png", zipped({"in.png": zipped({"a.png": PICTURE})}), "This is an archive inside the zip."),
        ("a.gz", zipped({"a.gz": b"\x1f\x8b" + PICTURE}), "This is an archive inside the zip."),
        ("zeros", zipped({"zeros": bytes(2_000_000)}), "This file is packed more tightly than any picture."),
        ("large", zipped({"large": bytes(20_000_001)}), TOO_LARGE),
        ("lies", patched(zipped({"lies": bytes(30_000_000)}), size=100), DAMAGED),
        ("a.png", zipped({"a.png": PICTURE}, zipfile.ZIP_STORED).replace(PICTURE[40:60], b"x" * 20), DAMAGED),
        ("a.png", patched(zipped({"a.png": PICTURE}), method=0), DAMAGED),
        ("a.png", zipped({"a.png": os.urandom(500)}).replace(b"PK\3\4", b"PK\3\5"), DAMAGED),
    ],
    ids=unnamed,
)  # fmt: skip
def test_an_odd_entry_is_refused_with_its_reason(name, content, reason):
    assert refusals(content) == [(name, reason)]


def end(count=1, size=46, offset=0, comment=b""):
    return struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, size, offset, len(comment)) + comment


@pytest.mark.parametrize(
    "content",
    [
        b"", b"PK", b"PK\5\6", PICTURE, end(), end(size=2**32 - 1), end(count=65_535), zipped({"a": b"1"})[:-30],
        zipped({"a": b"1"}).replace(b"PK\1\2", b"PK\1\3"),
        # The 64-bit directory, which would overrule what the end says.
        struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1) + end(),
        zipped([(f"{n}.png", b"") for n in range(201)]),
        zipped([(f"{n}.png", b"") for n in range(10_000)]),
        zipped([(f"{'x' * 60_000}{n}", b"") for n in range(5)]),
        # Says that it holds one, and holds 6,000.
        zipped([(f"{n}", b"") for n in range(6_000)]).replace(struct.pack("<2H", 6_000, 6_000), b"\1\0\1\0"),
        b"\x1f\x8b" + bytes(100), b"Rar!\x1a\7\0" + bytes(100), b"7z\xbc\xaf\x27\x1c" + bytes(100),
    ],
    ids=unnamed,
)  # fmt: skip
def test_what_is_no_zip_or_holds_too_much_is_refused_whole(content):
    began = time.process_time()
    with pytest.raises(PictureRefused):
        unpacked(content)
    assert time.process_time() - began < 5


def test_a_zip_larger_than_the_limit_is_not_even_opened(tmp_path):
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        file.truncate(zips.ZIP_BYTES_MAX + 1)
    with path.open("rb") as file, pytest.raises(PictureRefused, match="larger than 200 MB"):
        zips.entries(file)


def test_unpacking_ends_where_the_whole_is_too_much(monkeypatch):
    """Also when all entries share the same bytes, so that the zip itself stays small."""
    monkeypatch.setattr(zips, "ZIP_UNPACKED_BYTES_MAX", 1_500_000)
    found = unpacked(zipped([(f"{n}", os.urandom(600_000)) for n in range(5)]))
    assert [bool(entry.refusal) for entry in found] == [False, False, False, True, True]
    assert found[-1].refusal == "This zip unpacks to more than 1 MB."


@pytest.mark.django_db
@pytest.mark.usefixtures("catalogue")
def test_the_pictures_of_a_zip_become_the_models():
    user = make_user()
    model = make_draft(user, pictures=0)
    hostile = zipped(
        [
            ("../up.png", PICTURE), ("a.png", PICTURE + CANARY), ("b.jpg", encoded(scene(1), "JPEG", comment=CANARY)),
            ("page.html", b"<html>" + CANARY), ("twice.png", PICTURE), ("bomb.png", bytes(20_000_001)),
        ]
    )  # fmt: skip
    result = pictures.add_zip(model, user=user, file=io.BytesIO(hostile))
    assert [(refused.name, refused.reason) for refused in result.refused] == [
        ("up.png", CLIMBS), ("page.html", "This is no PNG, JPEG or WebP picture."),
        ("twice.png", pictures.ALREADY_THERE), ("bomb.png", TOO_LARGE),
    ]  # fmt: skip
    assert [picture.position for picture in result.added] == [0, 1]
    for key in storage.walk(f"models/{model.team_id}/{model.pk}"):
        assert CANARY not in storage.read(key)
    with pytest.raises(PictureRefused):
        pictures.add_zip(model, user=user, file=io.BytesIO(b"PK"))
    assert TrainingImage.objects.count() == 2
