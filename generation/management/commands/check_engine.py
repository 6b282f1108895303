import resource
import time
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation import params
from generation.engine import Batch, EngineError, ImageRequest, catalog, safety


class Command(BaseCommand):
    help = "Load a model, make one picture, print what it took: one fact a line. Exits 1 when the picture is broken."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--model", default=params.MODEL_DEFAULT, help=f"one of: {', '.join(catalog.CATALOG)}")
        parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")

    def handle(self, *, model: str, device: str, **options: Any) -> None:
        started = time.monotonic()
        try:
            spec = catalog.get(model)
            engine = import_module(settings.ENGINE).build(device, **settings.ENGINE_OPTIONS)
            loaded = engine.load(model)
            first, seconds_first = _timed_picture(engine, spec)
            since_start = time.monotonic() - started
            _, seconds_second = _timed_picture(engine, spec)
        except ImportError as error:
            raise CommandError(f"{error}: this machine has requirements-web.txt only, see requirements.txt.") from error
        except (EngineError, catalog.UnknownModel) as error:
            raise CommandError(str(error)) from error
        facts = {
            "model": model,
            "device": device,
            "revision": loaded.revision,
            "weights_mib": f"{loaded.bytes / 2**20:.1f}",
            "load_seconds": f"{loaded.seconds:.2f}",
            "first_picture_seconds": f"{seconds_first:.2f}",
            "second_picture_seconds": f"{seconds_second:.2f}",
            "start_to_first_picture_seconds": f"{since_start:.2f}",
            "size": params.size_name(*spec.default_size),
            "steps": str(spec.steps_default),
            "process_peak_mib": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}",
            **_device_memory(device),
        }
        for name, value in facts.items():
            self.stdout.write(f"{name} {value}")
        verdict = safety.check(first)
        if not verdict.ok:
            raise CommandError(f"{verdict.code}: {verdict.reason}")
        self.stdout.write("picture ok")


def _timed_picture(engine: Any, spec: catalog.ModelSpec) -> tuple[Any, float]:
    """((height, width, 3) uint8, seconds) of one picture with the model's own defaults."""
    width, height = spec.default_size
    request = ImageRequest("a beautiful sunset over mountains", "", 1)
    batch = Batch(spec.name, width, height, spec.steps_default, spec.guidance_default, (request,))
    started = time.monotonic()
    (picture,) = engine.generate(batch, lambda step: None)
    return picture, time.monotonic() - started


def _device_memory(device: str) -> dict[str, str]:
    if device == "cpu":
        return {}
    import torch

    return {"device_peak_mib": f"{torch.cuda.max_memory_allocated(device) / 2**20:.0f}"}
