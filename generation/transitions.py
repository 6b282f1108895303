"""Every change of a job's status, and of a waiting job's words: submit, rewrite, claim, finish, fail, requeue, release,
cancel. No other module makes one.

Each is a conditional UPDATE that says whether it won. `fence` stands in the WHERE of everything a worker writes: it
rises at every claim and every release, so a worker that lost its lease matches nothing. `attempts` only counts.
The clock is the database's. Lock order: job, then inside the ledger wallet, hold, grants.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, IntegerField, Q, QuerySet
from django.db.models.functions import Cast, Extract, Now

from credits import ledger
from credits.pricing import Quote
from generation.models import Image, Job
from generation.prompts import Expansion
from tenkaigen.failpoints import failpoint

Status = Job.Status
OPEN = (Status.QUEUED, Status.PROCESSING)
FAILURE_CHARS_MAX = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job did not end well: a stable code for programs, a sentence for the person, and whether to try again."""

    code: str
    message: str
    is_retryable: bool


LOST_TOO_OFTEN = Failure("worker_lost", "The picture could not be made: its worker stopped three times.", False)


def submit(job: Job, quote: Quote, *, wait_seconds: float = 0, at_most_centi: int | None = None) -> None:
    """Make the job row, then set its price aside. The caller's transaction holds both.

    Nobody claims the job for `wait_seconds`, unless `rewrite` ends the wait.

    Raises:
        InsufficientCredits, PriceChanged, WalletFrozen, Busy: as `ledger.reserve`.
        IntegrityError: the team has used this request key.
    """
    if wait_seconds:
        job.run_after = Now() + timedelta(seconds=wait_seconds)
    job.save(force_insert=True)
    if wait_seconds:
        job.refresh_from_db(fields=["run_after"])
    ledger.reserve(team_id=job.team_id, quote=quote, reference=str(job.id), at_most_centi=at_most_centi)


def rewrite(job: Job, expansion: Expansion) -> bool:
    """Give a job that waits for its first claim other words and end its wait. Whether it still waited for them."""
    note = {"expansion_note": expansion.note} if expansion.note else {}
    waiting = awaiting_words().filter(id=job.id)
    return bool(
        waiting.update(
            expanded_prompt=expansion.prompt,
            negative_prompt=expansion.negative_prompt,
            style=expansion.style,
            franchise=expansion.franchise,
            expander=expansion.expander,
            metadata={**job.metadata, **note},
            run_after=Now(),
        )
    )


def awaiting_words() -> QuerySet[Job]:
    """Jobs that were submitted with our own expansion and a wait for a better one."""
    return Job.objects.filter(status=Status.QUEUED, fence=0, expander="local", run_after__gt=Now())


@transaction.atomic
def claim(
    *,
    worker: str,
    models: Collection[str],
    images_max: Callable[[Job], int],
    kinds: Collection[str] = (Job.Kind.IMAGE,),
) -> list[Job]:
    """Take the next queued job this worker can serve, and those that may share its batch, under a lease.

    `images_max` says how many images a batch of the first job's model and size may have; a first job larger than
    that is still taken, alone.
    """
    waiting = (
        Job.objects.select_for_update(skip_locked=True, no_key=True)
        .filter(status=Status.QUEUED, run_after__lte=Now(), kind__in=kinds, model__in=models)
        .order_by("-priority", "created_at")
    )
    first = waiting.first()
    if first is None:
        return []
    chosen, images, most = [first], first.count, images_max(first)
    if images < most:
        for mate in waiting.filter(**batch_key(first)).exclude(pk=first.pk)[:most]:
            if images + mate.count <= most:
                chosen.append(mate)
                images += mate.count
    Job.objects.filter(pk__in=[job.pk for job in chosen]).update(
        status=Status.PROCESSING,
        attempts=F("attempts") + 1,
        fence=F("fence") + 1,
        worker=worker,
        lease_until=_lease_end(),
        claimed_at=Now(),
    )
    order = {job.pk: place for place, job in enumerate(chosen)}
    failpoint("claim.before_commit")
    return sorted(Job.objects.filter(pk__in=order), key=lambda job: order[job.pk])


def batch_key(job: Job) -> dict[str, object]:
    """What must be equal for two jobs to share one run of the model."""
    return {name: getattr(job, name) for name in ("model", "width", "height", "num_inference_steps", "guidance_scale")}


def heartbeat(held: Sequence[tuple[UUID, int]]) -> set[UUID]:
    """Renew the leases of (job id, fence) pairs. Returns the jobs that are still this worker's."""
    if not held:
        return set()
    ours = Q()
    for job_id, fence in held:
        ours |= Q(id=job_id, fence=fence)
    Job.objects.filter(ours, status=Status.PROCESSING).update(lease_until=_lease_end())
    return set(Job.objects.filter(ours, status=Status.PROCESSING).values_list("id", flat=True))


def note_device_done(job: Job, *, device_ms: int, model_revision: str, seconds_ago: float = 0) -> None:
    """Remember what the device did, for receipts and reports; no status moves."""
    done_at = Now() - timedelta(seconds=seconds_ago)
    _held(job).update(device_done_at=done_at, device_ms=device_ms, model_revision=model_revision)


@transaction.atomic
def finish(job: Job, images: Sequence[Image], *, blocked: Sequence[dict[str, object]] = ()) -> bool:
    """Deliver `images` and charge for them, and only for them. Whether this worker still held the job."""
    assert images
    won = _held(job).update(
        status=Status.COMPLETED,
        lease_until=None,
        finished_at=Now(),
        processing_ms=_milliseconds_since_claim(),
        stored_bytes=sum(image.size_bytes for image in images),
        metadata={**job.metadata, **({"blocked": list(blocked)} if blocked else {})},
    )
    if not won:
        return False
    for image in images:
        image.expires_at = Now() + timedelta(days=settings.IMAGE_LIFETIME_DAYS)
    Image.objects.bulk_create(images)
    failpoint("finish.after_images")
    receipt = ledger.settle(team_id=job.team_id, reference=str(job.id), delivered=len(images))
    # Less than the quote where a pass paid.
    Job.objects.filter(id=job.id).update(charged_centi=receipt.charged_centi)
    failpoint("finish.after_settle")
    return True


@transaction.atomic
def fail(job: Job, failure: Failure) -> bool:
    """Queue a failed attempt again after a back-off, or end the job and give the credits back.

    Whether this worker still held the job.
    """
    if failure.is_retryable and job.attempts < settings.JOB_ATTEMPTS_MAX:
        return _queue_again(_held(job), run_after=Now() + _back_off(job.attempts))
    return _end_badly(_held(job), job, failure)


def release(job: Job) -> bool:
    """Hand a job back unfinished, because the worker stops: at once, and without counting the attempt."""
    return _queue_again(_held(job), run_after=Now(), attempts=F("attempts") - 1)


@transaction.atomic
def recover(job: Job) -> bool:
    """Take a job from a worker whose lease has run out: queued again without delay, or failed when lost too often."""
    lost = Job.objects.filter(id=job.id, fence=job.fence, status=Status.PROCESSING, lease_until__lt=Now())
    failpoint("recover.before_commit")
    if job.attempts < settings.JOB_ATTEMPTS_MAX:
        return _queue_again(lost, run_after=Now())
    return _end_badly(lost, job, LOST_TOO_OFTEN)


@transaction.atomic
def cancel(job: Job) -> bool:
    """Close an open job and its hold at once; the worker finds out later. Whether there was anything to close."""
    won = Job.objects.filter(id=job.id, status__in=OPEN).update(
        status=Status.CANCELED, fence=F("fence") + 1, lease_until=None, finished_at=Now()
    )
    if won:
        ledger.settle(team_id=job.team_id, reference=str(job.id), delivered=0)
        failpoint("cancel.before_commit")
    return bool(won)


def _held(job: Job) -> QuerySet[Job]:
    # A worker that lost its lease holds an old `fence` and matches nothing.
    return Job.objects.filter(id=job.id, status=Status.PROCESSING, fence=job.fence)


def _queue_again(jobs: QuerySet[Job], **columns: object) -> bool:
    return jobs.update(status=Status.QUEUED, fence=F("fence") + 1, lease_until=None, worker="", **columns) == 1


def _end_badly(jobs: QuerySet[Job], job: Job, failure: Failure) -> bool:
    won = jobs.update(
        status=Status.FAILED,
        fence=F("fence") + 1,
        lease_until=None,
        finished_at=Now(),
        processing_ms=_milliseconds_since_claim(),
        failure=failure.message[:FAILURE_CHARS_MAX],
        failure_code=failure.code,
    )
    if won:
        ledger.settle(team_id=job.team_id, reference=str(job.id), delivered=0)
        failpoint("fail.before_commit")
    return bool(won)


def _lease_end() -> object:
    return Now() + timedelta(seconds=settings.LEASE_SECONDS)


def _milliseconds_since_claim() -> Cast:
    return Cast(Extract(Now() - F("claimed_at"), "epoch") * 1000, IntegerField())


def _back_off(attempts: int) -> timedelta:
    seconds = min(settings.RETRY_SECONDS_MAX, settings.RETRY_BASE_SECONDS * 2 ** (attempts - 1))
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))
