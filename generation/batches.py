"""Which pictures share one run of a model, and how many: the caps of a device, measured once and kept.

A batch takes only what is queued already; nothing here ever waits for company.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.db.models import QuerySet

from generation.engine import Batch, Engine, ImageRequest, LoadedModel, Lora, OutOfMemory, catalog
from generation.engine.catalog import ModelSpec, Size
from generation.models import BatchProfile, Job

logger = structlog.get_logger(__name__)
TRIED = (1, 2, 3, 4, 8)
STEPS_TRIED_MAX = 4
PROMPT_TRIED = "a red fox by a lake in the morning"
SHORT_SECONDS = 1.0  # a run shorter than this is taken twice


@dataclass(frozen=True, slots=True)
class Member:
    """One picture of one job."""

    job: Job
    place: int

    @property
    def request(self) -> ImageRequest:
        return ImageRequest(self.job.expanded_prompt, self.job.negative_prompt, self.job.seed + self.place)


def batch_of(members: Sequence[Member], adapters: tuple[Lora, ...] = ()) -> Batch:
    """What the engine is asked for. The claim has seen to it that the jobs agree in everything but the requests."""
    first = members[0].job
    return Batch(
        model=first.model,
        width=first.width,
        height=first.height,
        num_inference_steps=first.num_inference_steps,
        guidance_scale=first.guidance_scale,
        requests=tuple(member.request for member in members),
        adapters=adapters,
    )


def runs_of(engine: Engine, jobs: Sequence[Job], cap: int) -> list[tuple[Member, ...]]:
    """The pictures of some jobs as runs of at most `cap`; prompts of very different length stay apart."""
    buckets: dict[int, list[Member]] = defaultdict(list)
    for job in jobs:
        bucket = engine.bucket(job.model, Member(job, 0).request)
        buckets[bucket] += [Member(job, place) for place in range(job.count)]
    return [run for members in buckets.values() for run in _cut(members, cap)]


def halves(members: Sequence[Member]) -> list[tuple[Member, ...]]:
    """The same pictures in runs of half the size."""
    return list(_cut(members, max(1, len(members) // 2)))


def _cut(members: Sequence[Member], size: int) -> Iterator[tuple[Member, ...]]:
    return (tuple(members[start : start + size]) for start in range(0, len(members), size))


class Caps:
    """How many pictures of a size are worth one run on this device. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[tuple[str, Size], int] = {}
        self._lock = threading.Lock()

    def of(self, job: Job) -> int:
        """The cap for a job's model and size: measured, else the catalogue's; less for a job that did not fit once."""
        spec = catalog.get(job.model)
        known = self._known.get((job.model, spec.drawn_size(job.width, job.height)))
        cap = spec.batch_cap(job.width, job.height) if known is None else known
        return min(cap, job.batch_max or cap)

    def lower(self, job: Job, cap: int) -> None:
        """Remember that a run larger than `cap` did not fit, here and for the next start."""
        spec = catalog.get(job.model)
        size = spec.drawn_size(job.width, job.height)
        with self._lock:
            self._known[job.model, size] = min(cap, self._known.get((job.model, size), cap))
        logger.warning("batch_cap_lowered", model=job.model, width=size[0], height=size[1], cap=cap)
        try:
            rows = self._rows(job.model).filter(width=size[0], height=size[1], images_max__gt=cap)
            rows.update(images_max=cap)
        except DatabaseError as error:
            logger.warning("batch_cap_not_stored", error=type(error).__name__)

    def learn(self, loaded: LoadedModel) -> None:
        """Take over what was measured for this model on this kind of hardware."""
        for row in self._rows(loaded.name).filter(revision=loaded.revision):
            self._known[loaded.name, (row.width, row.height)] = row.images_max

    def measure(self, loaded: LoadedModel, until: float) -> None:
        """Try and keep the sizes nobody has measured here yet, as long as `time.monotonic()` is before `until`."""
        spec = catalog.get(loaded.name)
        for size, cap in _sizes_worth_trying(spec).items():
            if (loaded.name, size) in self._known or time.monotonic() > until:
                continue
            milliseconds = self._try(spec, size, cap)
            best = choose(milliseconds)
            width, height = spec.drawn_size(*size)
            BatchProfile.objects.update_or_create(
                hardware=self._engine.hardware,
                model=loaded.name,
                revision=loaded.revision,
                width=width,
                height=height,
                defaults={"images_max": best, "milliseconds": milliseconds},
            )
            self._known[loaded.name, (width, height)] = best
            logger.info("batch_measured", model=loaded.name, width=width, height=height, cap=best, ms=milliseconds)

    def warm_up(self, model: str) -> None:
        """Draw one picture that nobody sees, so that the first job finds everything compiled and allocated."""
        spec = catalog.get(model)
        self._engine.generate(_trial(spec, spec.default_size, 1, steps=spec.steps_min), lambda step: None)

    def _try(self, spec: ModelSpec, size: Size, cap: int) -> dict[int, float]:
        milliseconds: dict[int, float] = {}
        for count in [count for count in TRIED if count <= cap]:
            batch = _trial(spec, size, count, steps=min(spec.steps_max, max(spec.steps_min, STEPS_TRIED_MAX)))
            try:
                took = self._seconds(batch)
                if took < SHORT_SECONDS or count == 1:
                    took = min(took, self._seconds(batch))
            except OutOfMemory:
                break
            milliseconds[count] = round(took * 1000, 2)
        return milliseconds

    def _seconds(self, batch: Batch) -> float:
        began = time.perf_counter()
        self._engine.generate(batch, lambda step: None)
        return time.perf_counter() - began

    def _rows(self, model: str) -> QuerySet[BatchProfile]:
        return BatchProfile.objects.filter(hardware=self._engine.hardware, model=model)


def choose(milliseconds: Mapping[int, float]) -> int:
    """The largest batch worth its while, from what runs of one picture, of two, ... took.

    Each step up must make a picture cheaper by `BATCH_GAIN_MIN`, and nobody's picture may take more than
    `BATCH_SLOWDOWN_MAX` times as long because of its company. Where nothing was measured: one.
    """
    best = 1
    for count in sorted(milliseconds):
        gain = (milliseconds[best] / best) / (milliseconds[count] / count)
        if gain >= settings.BATCH_GAIN_MIN and milliseconds[count] <= settings.BATCH_SLOWDOWN_MAX * milliseconds[1]:
            best = count
    return best


def _sizes_worth_trying(spec: ModelSpec) -> dict[Size, int]:
    """One size to ask for, and the catalogue's cap, for each size that the model itself draws in batches."""
    drawn: dict[Size, tuple[Size, int]] = {}
    for size, cap in spec.batch_caps.items():
        if cap > 1:
            drawn.setdefault(spec.drawn_size(*size), (size, cap))
    return dict(drawn.values())


def _trial(spec: ModelSpec, size: Size, count: int, steps: int) -> Batch:
    requests = tuple(ImageRequest(PROMPT_TRIED, "", seed) for seed in range(count))
    return Batch(spec.name, *size, steps, spec.guidance_default, requests)
