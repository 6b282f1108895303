"""The program of the limited child: reads files from one pipe, writes pixels into the other, until the first ends.

Started by `decoding` with an empty environment. It knows no Django, no settings and no secrets.
"""

import os
from importlib import import_module

from generation.uploads import cage, wire


def main() -> None:
    cage.limit()
    # Within the limits already: what Pillow takes for itself counts.
    from PIL import Image as Pillow

    from generation.training_limits import PIXELS_MAX
    from generation.uploads import pixels

    Pillow.MAX_IMAGE_PIXELS = PIXELS_MAX
    # A plugin, a codec: each is a file, and none can be opened later.
    for plugin in ("Jpeg", "Mpo", "Png", "Tiff", "WebP"):
        import_module(f"PIL.{plugin}ImagePlugin")
    for encoding in ("ascii", "latin-1", "utf-8", "utf-16", "utf-16-le", "utf-16-be"):
        b"".decode(encoding)
    with os.fdopen(0, "rb") as source, os.fdopen(1, "wb") as sink:
        sink.write(wire.HELLO_LOCKED if cage.lock() else wire.HELLO_OPEN)
        sink.flush()
        while request := source.read(wire.REQUEST.size):
            length, width, height = wire.REQUEST.unpack(request)
            content = source.read(length)
            try:
                picture = pixels.read_exact(content, width, height) if width else pixels.read(content)
            except pixels.BadPicture as refused:
                sink.write(wire.ANSWER.pack(refused.word, 0, 0))
            else:
                sink.write(wire.ANSWER.pack(wire.Word.PIXELS, *picture.size) + picture.tobytes())
            sink.flush()


if __name__ == "__main__":
    main()
