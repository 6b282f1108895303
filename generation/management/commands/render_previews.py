"""Draw the sample picture of every look that the pages show, with an installed model, into `static/reference`."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation import looks, params
from generation.engine import Batch, ImageRequest, build, catalog
from generation.management.commands.render_style_previews import shrink
from generation.models import ReferenceModel
from generation.params import MODEL_DEFAULT
from generation.prompts import local
from generation.seed import preview_of

BYTES_MAX = 14_000
SEED = 11


class Command(BaseCommand):
    help = "Draw the example of every look with an installed model, into static/reference, and set its preview."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--only", metavar="SLUG", help="this look and no other")
        parser.add_argument("--model", default=MODEL_DEFAULT, choices=sorted(catalog.CATALOG))
        parser.add_argument("--device", default="cpu")
        parser.add_argument("--seed", type=int, default=SEED)
        parser.add_argument("--steps", type=int, default=0, help="0: the model's own")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = ReferenceModel.objects.order_by("category", "position")
        chosen = list(rows.filter(slug=options["only"]) if options["only"] else rows)
        if not chosen:
            raise CommandError("There is no such look. `seed_catalogue` adds the looks that are missing.")
        engine, spec = build(options["device"]), catalog.get(options["model"])
        for look in chosen:
            batch = _batch(look, spec, seed=options["seed"], steps=options["steps"])
            content = shrink(engine.generate(batch, lambda step: None)[0], bytes_max=BYTES_MAX)
            name = preview_of(look.slug)
            file = Path(settings.BASE_DIR) / "static" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            ReferenceModel.objects.filter(pk=look.pk).update(preview=name)
            self.stdout.write(f"{name} {len(content)} bytes")


def _batch(look: ReferenceModel, spec: catalog.ModelSpec, *, seed: int, steps: int) -> Batch:
    """What an order of the example prompt would draw, square."""
    made = local.expand(look.example_prompt, style=None, look=looks.recipe_of(look))
    usual = looks.Choice(spec.name, look).usual()
    width, height = params.nearest_size(spec, 1, 1)
    steps = steps or usual.get("num_inference_steps", spec.steps_default)
    guidance = usual.get("guidance_scale", spec.guidance_default)
    request = ImageRequest(made.prompt, made.negative_prompt, seed)
    return Batch(spec.name, width, height, steps, guidance, (request,))
