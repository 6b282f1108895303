"""Files out of a stranger's zip, one at a time, counted while they are unpacked. No name of it is ever a path."""

import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from generation.errors import PictureRefused
from generation.training_limits import UPLOAD_BYTES_MAX, ZIP_BYTES_MAX, ZIP_ENTRIES_MAX, ZIP_UNPACKED_BYTES_MAX

END = struct.Struct("<4s4H2IH")  # of central directory: magic, disks, counts, size, offset, length of the comment
END_MAGIC = b"PK\x05\x06"
LOCATOR_MAGIC, LOCATOR_BYTES = b"PK\x06\x07", 20  # of the 64-bit directory, which no zip of 200 pictures needs
COMMENT_BYTES_MAX = 65_535
DIRECTORY_BYTES_MAX = 250_000  # zipfile reads it whole: this is what bounds its memory, not the number it announces
CHUNK_BYTES = 65_536
RATIO_MAX = 100  # pictures are packed already and shrink by next to nothing
RATIO_FREE_BYTES = 1_000_000
ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ", b"(\xb5/\xfd")
ENCRYPTED = 0x1
NO_ZIP = "This is no zip file that we can read."


class Entry(NamedTuple):
    """One file of a zip: its bytes, or why it was not taken. `name` is a stranger's text."""

    name: str
    content: bytes = b""
    refusal: str = ""


def entries(packed: BinaryIO) -> Iterator[Entry]:
    """Every file of a zip in its order, without folders and the notes that systems leave beside them.

    Raises:
        PictureRefused: it is no zip, too large, or holds too much; before the first entry.
    """
    _check(packed)
    try:
        archive = ZipFile(packed)
    except (BadZipFile, ValueError, OSError, struct.error, NotImplementedError) as error:
        raise PictureRefused(NO_ZIP) from error
    found = [info for info in archive.infolist() if not _is_a_note(info)]
    if len(found) > ZIP_ENTRIES_MAX:
        raise PictureRefused(f"This zip holds more than {ZIP_ENTRIES_MAX} files.")
    return _unpacked(archive, found)


def _check(packed: BinaryIO) -> None:
    """Look at the end of the file before zipfile does, which would believe it."""
    size = packed.seek(0, 2)
    if size > ZIP_BYTES_MAX:
        raise PictureRefused(f"This zip is larger than {ZIP_BYTES_MAX // 10**6} MB.")
    packed.seek(max(0, size - END.size - COMMENT_BYTES_MAX - LOCATOR_BYTES))
    tail = packed.read()
    # As zipfile looks for it: at the very end, or else the last place that could be it.
    at = len(tail) - END.size
    if at < 0 or tail[at : at + 4] != END_MAGIC or tail[-2:] != b"\0\0":
        at = tail.rfind(END_MAGIC)
    if at < 0 or len(tail) - at < END.size or tail[max(0, at - LOCATOR_BYTES) :][:4] == LOCATOR_MAGIC:
        raise PictureRefused(NO_ZIP)
    _, _, _, _, count, directory_bytes, _, _ = END.unpack_from(tail, at)
    if directory_bytes > DIRECTORY_BYTES_MAX or count > 2 * ZIP_ENTRIES_MAX:
        raise PictureRefused(f"This zip holds more than {ZIP_ENTRIES_MAX} files.")


def _unpacked(archive: ZipFile, found: list[ZipInfo]) -> Iterator[Entry]:
    unpacked_bytes = 0
    for info in found:
        if refusal := _refusal(info):
            yield Entry(info.filename, refusal=refusal)
            continue
        if unpacked_bytes > ZIP_UNPACKED_BYTES_MAX:
            yield Entry(info.filename, refusal=f"This zip unpacks to more than {ZIP_UNPACKED_BYTES_MAX // 10**6} MB.")
            continue
        try:
            content = _read(archive, info)
        except (BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError, struct.error):
            # RuntimeError: a password, or a way of packing that zipfile does not know.
            unpacked_bytes += UPLOAD_BYTES_MAX  # at most; nobody knows how far it came
            yield Entry(info.filename, refusal="This file of the zip is damaged.")
            continue
        unpacked_bytes += len(content)
        yield _judged(info, content)


def _refusal(info: ZipInfo) -> str:
    parts = info.filename.replace("\\", "/").split("/")
    if info.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        return "This file's name leads out of the zip."
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "This is a link or a device, not a file."
    if info.flag_bits & ENCRYPTED:
        return "This file needs a password."
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return "This file is packed in a way that we do not read."
    return ""


def _read(archive: ZipFile, info: ZipInfo) -> bytes:
    """What an entry says of its size is not believed: reading ends one byte after the limit."""
    content = bytearray()
    with archive.open(info) as file:
        while len(content) <= UPLOAD_BYTES_MAX and (piece := file.read(CHUNK_BYTES)):
            content += piece
    return bytes(content[: UPLOAD_BYTES_MAX + 1])


def _judged(info: ZipInfo, content: bytes) -> Entry:
    if len(content) > UPLOAD_BYTES_MAX:
        return Entry(info.filename, refusal=f"This file is larger than {UPLOAD_BYTES_MAX // 10**6} MB.")
    if len(content) > RATIO_FREE_BYTES and len(content) > RATIO_MAX * max(1, info.compress_size):
        return Entry(info.filename, refusal="This file is packed more tightly than any picture.")
    if content.startswith(ARCHIVES):
        return Entry(info.filename, refusal="This is an archive inside the zip.")
    return Entry(info.filename, content)


def _is_a_note(info: ZipInfo) -> bool:
    parts = info.filename.split("/")
    return info.is_dir() or parts[0] == "__MACOSX" or parts[-1] in (".DS_Store", "Thumbs.db", "desktop.ini")
