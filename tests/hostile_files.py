"""Files that strangers might send as training pictures, made here: nothing of them lies in the repository.

`refused()` are none of the pictures we take; `taken()` are some, with something inside or around that must not be kept.
Every file that can carries `CANARY`.
"""

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

from PIL import Image as Pillow
from PIL import ImageCms, ImageDraw, PngImagePlugin

CANARY = b"CANARY-7f3a<script>alert(1)</script>"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112
SIDE = 160


def chunk(kind: bytes, data: bytes = b"", crc: int | None = None) -> bytes:
    checked = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checked)


def ihdr(width: int, height: int, *, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def idat(row_bytes: int, rows: int, *, value: bytes = b"\x40", more: int = 0) -> bytes:
    """Rows of one value, packed piece by piece: what unpacks to gigabytes is never whole in here either."""
    packer = zlib.compressobj(1)
    row = b"\0" + value * row_bytes
    packed = b"".join(packer.compress(row) for _ in range(rows))
    packed += b"".join(packer.compress(bytes(1_000_000)) for _ in range(more // 1_000_000))
    return chunk(b"IDAT", packed + packer.flush())


def png(*chunks: bytes, width: int = SIDE, height: int = SIDE, body: bytes | None = None) -> bytes:
    """A picture of one colour with further chunks between its header and its rows."""
    rows = idat(width * 3, height) if body is None else body
    return SIGNATURE + ihdr(width, height) + b"".join(chunks) + rows + chunk(b"IEND")


def scene(seed: int = 0, size: tuple[int, int] = (SIDE, SIDE)) -> Pillow.Image:
    """A picture with an up, a down, a left and a right, unlike that of another seed."""
    picture = Pillow.new("RGB", size, (30, 60, 90))
    draw = ImageDraw.Draw(picture)
    width, height = size
    for number in range(6):
        at = ((seed * 37 + number * 53) % 100) / 100 * width, ((seed * 71 + number * 29) % 100) / 100 * height
        colour = ((seed * 40 + number * 90) % 256, (seed * 90 + number * 50) % 256, (number * 40) % 256)
        draw.rectangle((at[0], at[1], at[0] + width / 4, at[1] + height / 5), fill=colour)
    return picture


def encoded(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def zipped(files: dict[str, bytes] | list[tuple[str, bytes]], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return buffer.getvalue()


def refused() -> Iterator[tuple[str, bytes]]:
    yield from _other_kinds()
    yield from _bad_pngs()
    yield from _bad_jpegs()
    yield from _bad_webps()


def _other_kinds() -> Iterator[tuple[str, bytes]]:
    picture = scene()
    yield "empty.png", b""
    yield "one-byte.png", b"\x89"
    yield "page.html", b"<!doctype html>" + CANARY
    yield "page.png", b"<html><body>" + CANARY
    yield "script.jpg", b"/*" + CANARY + b"*/ alert(document.domain)"
    yield "shell.php.png", b"<?php system($_GET['c']); ?>" + CANARY
    yield "drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'>" + CANARY + b"</svg>"
    yield "laughs.svg", b"<?xml version='1.0'?><!DOCTYPE l [<!ENTITY a '" + CANARY + b"'>]><svg>&a;&a;</svg>"
    yield "moving.gif", encoded(picture, "GIF", save_all=True, append_images=[scene(1)])
    yield "still.gif", encoded(picture, "GIF")
    yield "gif-and-script.gif", b"GIF89a/*" + bytes(20) + b"*/=1;" + CANARY
    yield "scan.tiff", encoded(picture, "TIFF")
    yield "scan.png", encoded(picture, "TIFF")
    yield "old.bmp", encoded(picture, "BMP")
    yield "icon.ico", encoded(picture, "ICO")
    yield "paper.pdf", encoded(picture, "PDF")
    yield "print.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 200\n(" + CANARY + b") run\n"
    yield "print.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 200\n%pipe%id\n" + CANARY
    yield "layers.psd", b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, SIDE, SIDE, 8, 3) + CANARY
    yield "phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + CANARY
    yield "new.avif", encoded(picture, "AVIF")
    yield "film.jp2", encoded(picture, "JPEG2000")
    yield "film.mp4", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + CANARY
    yield "program.png", b"\x7fELF\2\1\1" + bytes(9) + CANARY
    yield "model.png", pickle.dumps({"canary": CANARY})
    yield "archive.png", zipped({"a.png": encoded(picture, "PNG")})
    yield "packed.png", gzip.compress(encoded(picture, "PNG"))
    yield "raw.ppm", encoded(picture, "PPM")
    yield "late.png", b" " + encoded(picture, "PNG")
    yield "sound.webp", b"RIFF\x24\0\0\0WAVEfmt " + CANARY


def _bad_pngs() -> Iterator[tuple[str, bytes]]:
    good = encoded(scene(), "PNG")
    yield "signature.png", SIGNATURE
    yield "signature-and-page.png", SIGNATURE + CANARY * 20
    yield "bomb-1-bit.png", SIGNATURE + ihdr(12_000, 12_000, depth=1, colour=0) + idat(1500, 12_000) + chunk(b"IEND")
    yield "bomb-just-over.png", SIGNATURE + ihdr(8000, 5001, depth=1, colour=0) + idat(1000, 5001) + chunk(b"IEND")
    yield "bomb-header.png", png(body=b"").replace(ihdr(SIDE, SIDE), ihdr(2**31 - 1, 2**31 - 1))
    yield "bomb-interlaced.png", SIGNATURE + ihdr(60_000, 60_000, interlace=1) + idat(300, 10) + chunk(b"IEND")
    yield "bomb-one-pixel.png", png(width=1, height=1, body=idat(3, 1, more=60_000_000))
    yield "no-width.png", SIGNATURE + ihdr(0, SIDE) + idat(3, SIDE) + chunk(b"IEND")
    yield "long.png", SIGNATURE + ihdr(8193, 200, depth=1, colour=0) + idat(1025, 200) + chunk(b"IEND")
    yield "thin.png", SIGNATURE + ihdr(8000, 127) + idat(24_000, 127) + chunk(b"IEND")
    yield "small.png", encoded(scene(size=(127, 127)), "PNG")
    yield "cut.png", good[: len(good) // 2]
    yield "no-rows.png", SIGNATURE + ihdr(SIDE, SIDE) + chunk(b"IEND")
    yield "wrong-crc-header.png", SIGNATURE + chunk(b"IHDR", good[16:29], crc=1) + good[33:]
    yield "wrong-crc-rows.png", SIGNATURE + ihdr(SIDE, SIDE) + chunk(b"IDAT", b"x" * 100, crc=1) + chunk(b"IEND")
    yield "no-zlib.png", png(body=chunk(b"IDAT", CANARY * 50))
    yield "no-header.png", SIGNATURE + idat(480, SIDE) + chunk(b"IEND")
    yield "late-header.png", SIGNATURE + idat(480, SIDE) + ihdr(SIDE, SIDE) + chunk(b"IEND")
    yield "short-header.png", SIGNATURE + chunk(b"IHDR", b"\0\0\0\xa0") + idat(480, SIDE) + chunk(b"IEND")
    yield "odd-colours.png", SIGNATURE + ihdr(SIDE, SIDE, depth=3, colour=5) + idat(480, SIDE) + chunk(b"IEND")
    yield "huge-chunk.png", SIGNATURE + ihdr(SIDE, SIDE) + struct.pack(">I", 2**31 - 1) + b"tEXt" + CANARY
    yield "bomb-ztxt.png", png(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(20_000_000), 9)))
    yield "bomb-itxt.png", png(chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(20_000_000), 9)))
    yield (
        "bomb-many-ztxt.png",
        png(*[chunk(b"zTXt", b"k%d\0\0" % n + zlib.compress(bytes(900_000))) for n in range(90)]),
    )
    yield "animated.png", encoded(scene(), "PNG", save_all=True, append_images=[scene(1)])
    yield "million-frames.png", png(chunk(b"acTL", struct.pack(">II", 1_000_000, 0)))
    yield "21-mb.png", SIGNATURE + CANARY + bytes(21_000_000)


def _bad_jpegs() -> Iterator[tuple[str, bytes]]:
    good = encoded(scene(), "JPEG")
    sof = good.index(b"\xff\xc0")
    yield "start.jpg", b"\xff\xd8\xff"
    yield "start-and-page.jpg", b"\xff\xd8\xff\xe0" + CANARY * 20
    yield "cut.jpg", good[: len(good) // 2]
    yield "bomb-header.jpg", good[: sof + 5] + struct.pack(">HH", 65_500, 65_500) + good[sof + 9 :]
    yield "no-height.jpg", good[: sof + 5] + struct.pack(">HH", 0, SIDE) + good[sof + 9 :]
    yield "many-parts.jpg", good[: sof + 9] + b"\xff" + good[sof + 10 :]
    yield "no-tables.jpg", good[:20] + good[sof:].replace(b"\xff\xc4", b"\xff\xfe")
    yield "bad-huffman.jpg", good.replace(b"\xff\xc4\x00\x1f\x00", b"\xff\xc4\x00\x1f\x00" + b"\xff" * 16)
    yield "one-pixel.jpg", encoded(Pillow.new("RGB", (1, 1)), "JPEG")
    yield "two-pictures.mpo.jpg", encoded(scene(), "MPO", save_all=True, append_images=[scene(1)])
    yield "bomb-cmyk.jpg", encoded(Pillow.new("CMYK", (4200, 4200)), "JPEG", quality=1)


def _bad_webps() -> Iterator[tuple[str, bytes]]:
    good = encoded(scene(), "WEBP", lossless=True)
    vp8x = b"VP8X" + struct.pack("<IB3x", 10, 0) + (16_383).to_bytes(3, "little") * 2
    yield "start.webp", b"RIFF\0\0\0\0WEBP"
    yield "start-and-page.webp", b"RIFF\xff\xff\xff\xffWEBP" + CANARY * 20
    yield "cut.webp", good[: len(good) // 2]
    yield "moving.webp", encoded(scene(), "WEBP", save_all=True, append_images=[scene(1)])
    yield "bomb-header.webp", b"RIFF" + struct.pack("<I", 4 + len(vp8x)) + b"WEBP" + vp8x
    yield "bomb-17-mp.webp", encoded(Pillow.new("RGB", (4200, 4200)), "WEBP", method=0, quality=1)
    # As CVE-2023-4863: code lengths of a lossless picture that make more codes than their table holds.
    yield "huffman.webp", good[:25] + bytes((n * 151 + 89) % 256 for n in range(200)) + good[225:]


def taken() -> Iterator[tuple[str, bytes]]:
    # Every scene is another, or it would be there already.
    for number, (name, content) in enumerate(_around()):
        yield name, content(number)
    yield from _names()


def _around() -> Iterator[tuple[str, Callable[[int], bytes]]]:
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", CANARY.decode())
    text.add_itxt("XML:com.adobe.xmp", CANARY.decode())
    exif = Pillow.Exif()
    exif[0x010E], exif[0x013B] = CANARY.decode(), CANARY.decode()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield "and-page.png", lambda n: encoded(scene(n), "PNG") + b"<html>" + CANARY
    yield "and-archive.jpg", lambda n: encoded(scene(n), "JPEG") + zipped({"evil.js": CANARY})
    yield "and-script.webp", lambda n: encoded(scene(n), "WEBP") + b"*/=" + CANARY
    yield "text.png", lambda n: encoded(scene(n), "PNG", pnginfo=text)
    yield "comment.jpg", lambda n: encoded(scene(n), "JPEG", comment=CANARY)
    yield "exif.jpg", lambda n: encoded(scene(n), "JPEG", exif=exif)
    yield "exif.png", lambda n: encoded(scene(n), "PNG", exif=exif)
    yield "exif.webp", lambda n: encoded(scene(n), "WEBP", exif=exif)
    yield "xmp.jpg", lambda n: encoded(scene(n), "JPEG", xmp=CANARY)
    yield "xmp.webp", lambda n: encoded(scene(n), "WEBP", xmp=CANARY)
    yield "broken-exif.jpg", lambda n: encoded(scene(n), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + CANARY)
    yield "round-exif.jpg", lambda n: encoded(scene(n), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\x08" + CANARY)
    yield "giant-exif.jpg", lambda n: encoded(scene(n), "JPEG", exif=b"Exif\0\0MM\0*" + CANARY * 1700)
    yield "profile.png", lambda n: encoded(scene(n), "PNG", icc_profile=profile + CANARY)
    yield "broken-profile.jpg", lambda n: encoded(scene(n), "JPEG", icc_profile=CANARY * 10)
    yield "giant-profile.jpg", lambda n: encoded(scene(n), "JPEG", icc_profile=CANARY * 100_000)
    yield "profile-of-ink.png", lambda n: encoded(scene(n).convert("L"), "PNG", icc_profile=profile + CANARY)
    yield "late-bomb.png", lambda n: png(body=idat(480, SIDE, value=bytes([40 + n]), more=60_000_000)) + CANARY
    yield "print.jpg", lambda n: encoded(scene(n).convert("CMYK"), "JPEG") + CANARY
    yield "progressive.jpg", lambda n: encoded(scene(n), "JPEG", progressive=True) + CANARY
    yield "grey-16.png", lambda n: encoded(scene(n).convert("L").convert("I;16"), "PNG") + CANARY
    yield "rgb-16.png", lambda n: SIGNATURE + ihdr(SIDE, SIDE, depth=16) + idat(960, SIDE) + chunk(b"IEND") + CANARY
    yield "palette.png", lambda n: encoded(scene(n).quantize(8), "PNG", transparency=0) + CANARY
    yield "bits.png", lambda n: encoded(scene(n).convert("1"), "PNG") + CANARY
    yield "glass.webp", lambda n: encoded(_glass(n), "WEBP") + CANARY
    yield "glass.png", lambda n: encoded(_glass(n), "PNG") + CANARY
    yield "grey-glass.png", lambda n: encoded(_glass(n).convert("LA"), "PNG") + CANARY
    yield "hdr-of-two.jpg", lambda n: encoded(scene(n), "JPEG", xmp=b' hdrgm:Version="1.0" ' + CANARY)
    yield "few-rows.png", lambda n: SIGNATURE + ihdr(SIDE, SIDE) + idat(480, 99 + n) + chunk(b"IEND") + CANARY
    yield "unknown-chunk.png", lambda n: png(chunk(b"EVIL", CANARY), body=idat(480, SIDE, value=bytes([90 + n])))
    yield "segments.jpg", lambda n: _with_segments(encoded(scene(n), "JPEG"))


def _names() -> Iterator[tuple[str, bytes]]:
    names = [
        "../../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/cron.d/x.png", "a\nSet-Cookie: x=1\r\n.png",
        "nul\0.png", "<img src=x onerror=alert(1)>.png", "\u202egnp.exe", "x" * 5000 + ".png", "   ", "{{ 7*7 }}.png",
    ]  # fmt: skip
    for number, name in enumerate(names):
        yield name, encoded(scene(50 + number), "PNG") + CANARY


def _glass(number: int) -> Pillow.Image:
    picture = scene(number).convert("RGBA")
    picture.putalpha(128)
    return picture


def _with_segments(content: bytes) -> bytes:
    segment = (CANARY * 1700)[:60_000]
    return content[:2] + b"".join(b"\xff\xed" + struct.pack(">H", 60_002) + segment for _ in range(10)) + content[2:]
