import os
import secrets
import sys
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation import params, policy
from generation.engine import Batch, EngineError, ImageRequest, Step, catalog, safety
from generation.errors import InvalidParams, PromptRefused
from generation.prompts import Expansion, StyleRecipe, local
from tenkaigen.errors import DomainError

FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
STYLES_FILE = Path(params.__file__).parent / "catalogue" / "styles.toml"
BAR_CHARS = 24


class Command(BaseCommand):
    help = "Make one picture with the local engine. Needs no web server, no database and no network."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--prompt", required=True, help="what the picture shows")
        parser.add_argument("--out", required=True, type=Path, help=f"a file ending in {', '.join(FORMATS)}")
        parser.add_argument("--model", default=params.MODEL_DEFAULT, help=f"one of: {', '.join(catalog.CATALOG)}")
        parser.add_argument("--style", default="", help="name of a style preset, e.g. anime")
        parser.add_argument("--no-expand", action="store_true", help="give the model these words and no others")
        parser.add_argument("--negative-prompt", default="", help="what the picture should not show")
        parser.add_argument("--seed", type=int, help=f"0 to {params.SEED_MAX}; the same seed, the same picture")
        parser.add_argument("--steps", type=int, help="denoising steps; default: the model's")
        parser.add_argument("--guidance", type=float, help="how strictly the prompt is followed; default: the model's")
        parser.add_argument("--size", help="WIDTHxHEIGHT; default: the model's")
        parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
        parser.add_argument("--force", action="store_true", help="replace the file if it exists")

    def handle(self, *, out: Path, device: str, force: bool, **options: Any) -> None:
        _check_target(out, force)
        try:
            batch = _batch(options)
            pixels = (
                import_module(settings.ENGINE)
                .build(device, **settings.ENGINE_OPTIONS)
                .generate(batch, _progress(batch.model))
            )
        except (DomainError, EngineError) as error:
            raise CommandError(str(error)) from error
        verdict = safety.check(pixels[0], classify=safety.classifier(catalog.get(batch.model).image_classifier))
        if not verdict.ok:
            raise CommandError(verdict.reason)
        save(pixels[0], out, force)
        self.stdout.write(f"picture {out}\nmodel {batch.model}\nseed {batch.requests[0].seed}")


def _batch(options: dict[str, Any]) -> Batch:
    """Raises: DomainError, for the same requests that page and API refuse, and in the same words."""
    asked = params.make(
        {
            "num_inference_steps": options["steps"],
            "guidance_scale": options["guidance"],
            "expand": not options["no_expand"],
            **{name: options[name] for name in ("prompt", "negative_prompt", "model", "style", "size", "seed")},
        }
    )
    expansion = _expand(asked)
    if rule := policy.refusal(asked.prompt, expansion.prompt, expansion.negative_prompt):
        raise PromptRefused(rule.reason)
    seed = secrets.randbelow(params.SEED_MAX + 1) if asked.seed is None else asked.seed
    return Batch(
        model=asked.model,
        width=asked.width,
        height=asked.height,
        num_inference_steps=asked.num_inference_steps,
        guidance_scale=asked.guidance_scale,
        requests=(ImageRequest(expansion.prompt, expansion.negative_prompt, seed),),
    )


def _expand(asked: params.Params) -> Expansion:
    """As a page does it, with the style presets of the file in place of the database's."""
    styles = _styles()
    chosen = next((style for style in styles if style.slug == asked.style), None)
    if asked.style and chosen is None:
        raise InvalidParams({"style": f"There is no style {asked.style}; choose one of: {_listed(styles)}."})
    if not asked.expand:
        return Expansion(asked.prompt, asked.negative_prompt, asked.style, "", "")
    made = local.expand(asked.prompt, style=chosen, styles=styles)
    return replace(made, negative_prompt=asked.negative_prompt or made.negative_prompt)


def _styles() -> list[StyleRecipe]:
    rows = tomllib.loads(STYLES_FILE.read_text("utf-8"))["style"]
    return [
        StyleRecipe(row["slug"], row["recipe"], row["negative_prompt"], tuple(row["keywords"].split(",")))
        for row in rows
    ]


def _listed(styles: list[StyleRecipe]) -> str:
    return ", ".join(style.slug for style in styles)


def _progress(model: str) -> Callable[[Step], None]:
    print(f"loading {model}", file=sys.stderr)

    def on_step(step: Step) -> None:
        filled = BAR_CHARS * step.done // step.total
        bar = "#" * filled + "." * (BAR_CHARS - filled)
        end = "\n" if step.done == step.total else ""
        print(f"\r[{bar}] step {step.done} of {step.total}", end=end, file=sys.stderr, flush=True)

    return on_step


def _check_target(out: Path, force: bool) -> None:
    if out.suffix.lower() not in FORMATS:
        raise CommandError(f"--out must end in one of: {', '.join(FORMATS)}")
    if not out.parent.is_dir():
        raise CommandError(f"there is no folder {out.parent}")
    if out.is_dir():
        raise CommandError(f"{out} is a folder")
    if out.exists() and not force:
        raise CommandError(f"{out} exists; add --force to replace it")


def save(pixels: Any, out: Path, force: bool) -> None:
    """Write the picture, and nothing about how it was made, in one move: a reader sees all of it or none of it.

    Args:
        pixels: (height, width, 3) uint8.

    Raises:
        CommandError: the file appeared meanwhile, or the disk refuses.
    """
    from PIL import Image

    descriptor, draft = tempfile.mkstemp(dir=out.parent, prefix=".", suffix=out.suffix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            Image.fromarray(pixels).save(file, FORMATS[out.suffix.lower()])
            os.fchmod(descriptor, 0o644)
        if force:
            os.replace(draft, out)
        else:
            os.link(draft, out)  # unlike replace, fails if somebody else was faster
    except FileExistsError as error:
        raise CommandError(f"{out} exists; add --force to replace it") from error
    except OSError as error:
        raise CommandError(f"cannot write {out}: {error.strerror}") from error
    finally:
        Path(draft).unlink(missing_ok=True)
