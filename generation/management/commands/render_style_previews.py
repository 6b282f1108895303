"""Draw the sample picture of every style that the pages show, with our own engine, and keep them in `static/styles`."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from PIL import Image as Pillow

from generation.engine import Batch, ImageRequest, build, catalog
from generation.params import MODEL_DEFAULT
from generation.prompts import StyleRecipe, local
from generation.seed import read_rows

PROMPT = "a lighthouse by the sea at sunset"
BYTES_MAX = 12_000
SIDE_PX = 256
QUALITIES = range(86, 20, -6)


class Command(BaseCommand):
    help = "Draw one picture per style into static/styles; without --apply only say which."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--apply", action="store_true", help="write the files")
        parser.add_argument("--device", default="cpu")
        parser.add_argument("--prompt", default=PROMPT)
        parser.add_argument("--seed", type=int, default=11)
        parser.add_argument("--steps", type=int, default=20)

    def handle(self, *args: Any, **options: Any) -> None:
        recipes = [_recipe(row) for row in read_rows("styles.toml", "style")]
        folder = Path(settings.BASE_DIR) / "static" / "styles"
        if not options["apply"]:
            self.stdout.write("\n".join(str(folder / f"{recipe.slug}.webp") for recipe in recipes))
            return
        engine, spec = build(options["device"]), catalog.get(MODEL_DEFAULT)
        folder.mkdir(parents=True, exist_ok=True)
        for recipe in recipes:
            made = local.expand(options["prompt"], style=recipe)
            request = ImageRequest(made.prompt, made.negative_prompt, options["seed"])
            width, height = spec.default_size
            batch = Batch(spec.name, width, height, options["steps"], spec.guidance_default, (request,))
            content = shrink(engine.generate(batch, lambda step: None)[0])
            (folder / f"{recipe.slug}.webp").write_bytes(content)
            self.stdout.write(f"{recipe.slug}.webp {len(content)} bytes")


def shrink(pixels: np.ndarray, bytes_max: int = BYTES_MAX) -> bytes:
    """Encode (height, width, 3) uint8 as WebP of `SIDE_PX`, as well as `bytes_max` allows."""
    picture = Pillow.fromarray(pixels).resize((SIDE_PX, SIDE_PX), Pillow.Resampling.LANCZOS)
    content = b""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=quality, method=6)
        content = buffer.getvalue()
        if len(content) <= bytes_max:
            break
    return content


def _recipe(row: dict[str, Any]) -> StyleRecipe:
    return StyleRecipe(row["slug"], row["recipe"], row["negative_prompt"])
