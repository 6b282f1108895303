"""Every change of a job's status, and of a waiting job's words: submit, rewrite, claim, finish, fail, requeue, release,
cancel. No other module makes one.

Each is a conditional UPDATE that says whether it won. `fence` stands in the WHERE of everything a worker writes: it
rises at every claim and every release, so a worker that lost its lease matches nothing. `attempts` only counts.
The clock is the database's. Lock order: job, of a training its model and version, then inside the ledger wallet, hold,
grants; the team's slot last. A claim locks slots first, and then only jobs that nobody else has locked.
"""

import random
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, IntegerField, Q, QuerySet
from django.db.models.functions import Cast, Extract, Now
from django.dispatch import Signal

from credits import ledger
from credits.plans import Limits
from credits.pricing import Quote
from generation import key_caps, slots, versions
from generation.failures import BACK_OFFS, LOST_TOO_OFTEN, TRAINING_LOST_TOO_OFTEN, Failure, FailureKind
from generation.mates import batch_key
from generation.models import Image, Job
from generation.prompts import Expansion
from generation.versions import Adapter
from tenkaigen.failpoints import failpoint

Status = Job.Status
OPEN = (Status.QUEUED, Status.PROCESSING)
FAILURE_CHARS_MAX = 300
TEAMS_TRIED_MAX = 20  # in one claim
# A job stopped running, or may run again at once: sent after the commit, with `team_id` and `kind`.
moved_on = Signal()
# The order of a team's jobs is `run_after`; a job that lost nothing but its worker is where it was.
KEEPING_ITS_PLACE = {"run_after": F("created_at")}
# Claimed and read in one round trip.
START = """
UPDATE generation_job SET status = 'processing', attempts = attempts + 1, fence = fence + 1, worker = %(worker)s,
    lease_until = statement_timestamp() + %(lease)s, claimed_at = statement_timestamp()
WHERE id = ANY(%(jobs)s) AND status = 'queued'
RETURNING *
"""


def submit(
    job: Job, quote: Quote, limits: Limits, *, wait_seconds: float = 0, at_most_centi: int | None = None
) -> None:
    """Make the job row, set its price aside, and put its team in line. The caller's transaction holds all three.

    Nobody claims the job for `wait_seconds`, unless `rewrite` ends the wait.

    Raises:
        InsufficientCredits, PriceChanged, WalletFrozen, Busy: as `ledger.reserve`.
        KeyCapReached: it was submitted with an API key (`job.api_key`) that may not spend so much this month.
        IntegrityError: the team has used this request key.
    """
    if wait_seconds:
        job.run_after = Now() + timedelta(seconds=wait_seconds)
    job.batch_key = batch_key(job)
    job.save(force_insert=True)
    if wait_seconds:
        job.refresh_from_db(fields=["run_after"])
    hold = ledger.reserve(team_id=job.team_id, quote=quote, reference=str(job.id), at_most_centi=at_most_centi)
    key_caps.refuse_overspending(job, hold.amount_centi)
    slots.join(job.team_id, job.kind, limits)


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


def claim(
    *,
    worker: str,
    models: Collection[str],
    images_max: Callable[[Job], int],
    kinds: Collection[str] = (Job.Kind.IMAGE,),
    has_adapters: bool = True,
    may_wait: bool = True,
) -> list[Job]:
    """Take the next queued job this worker can serve, and those that may share its batch, under a lease.

    Next is who the line says (`slots`), within its plan. `images_max` says how many images a batch of the first job's
    model and size may have; a larger first job is taken alone. Without adapters: no job of a trained model. In a
    transaction of the caller's it must not wait: what was locked on the way stays locked.
    """
    # Who finds only locked teams waits for one: an idle device must not overlook work.
    for waits in (False, True) if may_wait else (False,):
        tried: list[int] = []
        while len(tried) < TEAMS_TRIED_MAX:
            with transaction.atomic():  # one each: who waits for a slot must hold none
                slot = slots.lock_next(kinds, models, tried=tried, waits=waits, has_adapters=has_adapters)
                if slot is None:
                    break
                if first := slots.take_head(slot, models, has_adapters=has_adapters):
                    return _start(slots.take_mates(slot, first, images_max(first)), worker)
            tried.append(slot)  # another claim filled it a moment ago
    return []


def _start(batch: slots.Batch, worker: str) -> list[Job]:
    order = {job_id: place for place, job_id in enumerate(batch.job_ids)}
    facts = {"worker": worker, "lease": timedelta(seconds=settings.LEASE_SECONDS), "jobs": list(order)}
    claimed = Job.objects.raw(START, facts)
    jobs = sorted(claimed, key=lambda job: order[job.pk])
    slots.note_served(batch.slots)
    failpoint("claim.before_commit")
    return jobs


def heartbeat(held: Sequence[tuple[UUID, int]]) -> set[UUID]:
    """Renew the leases of (job id, fence) pairs. Returns the jobs that are still this worker's."""
    if not held:
        return set()
    ours = Q(*(Q(id=job_id, fence=fence) for job_id, fence in held), _connector=Q.OR)
    lease_until = Now() + timedelta(seconds=settings.LEASE_SECONDS)
    Job.objects.filter(ours, status=Status.PROCESSING).update(lease_until=lease_until)
    return set(Job.objects.filter(ours, status=Status.PROCESSING).values_list("id", flat=True))


def note_device_done(job: Job, *, device_ms: int, model_revision: str, seconds_ago: float = 0) -> None:
    """Remember what the device did, for receipts and reports; no status moves."""
    done_at = Now() - timedelta(seconds=seconds_ago)
    _held(job).update(device_done_at=done_at, device_ms=device_ms, model_revision=model_revision)


@transaction.atomic
def finish(job: Job, images: Sequence[Image], *, blocked: Sequence[dict[str, object]] = ()) -> bool:
    """Deliver `images` and charge for them, and only for them. Whether this worker still held the job."""
    assert images
    metadata = {**job.metadata, **({"blocked": list(blocked)} if blocked else {})}
    if not _complete(job, stored_bytes=sum(image.size_bytes for image in images), metadata=metadata):
        return False
    for image in images:
        image.expires_at = Now() + timedelta(days=settings.IMAGE_LIFETIME_DAYS)
    Image.objects.bulk_create(images)
    failpoint("finish.after_images")
    _charge(job, delivered=len(images))
    failpoint("finish.after_settle")
    return True


@transaction.atomic
def note_training(job: Job, **columns: object) -> bool:
    """Write into its version how far a training has come; no status moves. Whether this worker still held the job.

    Of files, the caller deletes what the row named before, or what it would have named.
    """
    # The job's row is locked until the commit: nobody claims it between our look and the write.
    if not _held(job).select_for_update(no_key=True).values_list("id").first():
        return False
    return versions.note(job, **columns)


@transaction.atomic
def finish_training(job: Job, adapter: Adapter, losses: Sequence[object]) -> bool:
    """Deliver a trained version, make it the one people draw with, and charge for it. Whether this worker still held
    the job."""
    if not _complete(job, stored_bytes=adapter.bytes):
        return False
    versions.complete(job, adapter, losses)
    failpoint("train.after_version")
    _charge(job, delivered=1)
    failpoint("train.after_settle")
    return True


@transaction.atomic
def fail(job: Job, failure: Failure) -> bool:
    """Queue a failed attempt again, or end the job and give the credits back, as the kind of the failure says.

    Whether this worker still held the job.
    """
    if job.attempts < settings.JOB_ATTEMPTS_MAX:
        if failure.kind in BACK_OFFS:
            return _queue_again(_held(job), job, run_after=Now() + _back_off(job.attempts, failure.kind))
        if failure.kind == FailureKind.OUT_OF_MEMORY and job.batch_max is None:
            half = max(1, (failure.images or job.count) // 2)
            return _queue_again(_held(job), job, batch_max=half, **KEEPING_ITS_PLACE)
    return _end_badly(_held(job), job, failure)


@transaction.atomic
def release(job: Job) -> bool:
    """Hand a job back unfinished, because the worker stops: at once, and without counting the attempt."""
    return _queue_again(_held(job), job, attempts=F("attempts") - 1, **KEEPING_ITS_PLACE)


@transaction.atomic
def recover(job: Job) -> bool:
    """Take a job from a worker whose lease has run out: queued again without delay, or failed when lost too often."""
    lost = Job.objects.filter(id=job.id, fence=job.fence, status=Status.PROCESSING, lease_until__lt=Now())
    failpoint("recover.before_commit")
    if job.attempts < settings.JOB_ATTEMPTS_MAX:
        return _queue_again(lost, job, **KEEPING_ITS_PLACE)
    return _end_badly(lost, job, LOST_TOO_OFTEN if job.kind == Job.Kind.IMAGE else TRAINING_LOST_TOO_OFTEN)


@transaction.atomic
def cancel(job: Job) -> bool:
    """Close an open job and its hold at once; the worker finds out later. Whether there was anything to close."""
    won = Job.objects.filter(id=job.id, status__in=OPEN).update(
        status=Status.CANCELED, fence=F("fence") + 1, lease_until=None, finished_at=Now()
    )
    if won:
        ledger.settle(team_id=job.team_id, reference=str(job.id), delivered=0)
        _tell_the_line(job)
        failpoint("cancel.before_commit")
    return bool(won)


def _held(job: Job) -> QuerySet[Job]:
    return Job.objects.filter(id=job.id, status=Status.PROCESSING, fence=job.fence)


def _complete(job: Job, **columns: object) -> bool:
    """The first part of every delivery: who wins it may write what it delivers."""
    won = _held(job).update(
        status=Status.COMPLETED,
        lease_until=None,
        finished_at=Now(),
        processing_ms=_milliseconds_since_claim(),
        **columns,
    )
    return bool(won)


def _charge(job: Job, *, delivered: int) -> None:
    """The last part: pay for what was delivered, and for nothing else."""
    receipt = ledger.settle(team_id=job.team_id, reference=str(job.id), delivered=delivered)
    # Less than the quote where a pass paid.
    Job.objects.filter(id=job.id).update(charged_centi=receipt.charged_centi)
    _tell_the_line(job)


def _queue_again(jobs: QuerySet[Job], job: Job, **columns: object) -> bool:
    won = jobs.update(status=Status.QUEUED, fence=F("fence") + 1, lease_until=None, worker="", **columns)
    if won:
        slots.rejoin(job.team_id, job.kind)
        _tell_the_line(job)
    return bool(won)


def _end_badly(jobs: QuerySet[Job], job: Job, failure: Failure) -> bool:
    won = jobs.update(
        status=Status.FAILED,
        fence=F("fence") + 1,
        lease_until=None,
        finished_at=Now(),
        processing_ms=_milliseconds_since_claim(),
        failure=failure.message[:FAILURE_CHARS_MAX],
        failure_code=failure.code,
        is_quarantined=failure.kind != FailureKind.FINAL,
    )
    if won:
        ledger.settle(team_id=job.team_id, reference=str(job.id), delivered=0)
        _tell_the_line(job)
        failpoint("fail.before_commit")
    return bool(won)


def note_looked_at(job: Job) -> bool:
    """Take a failed job off the list of those that need a look; no status moves. Whether it was on it."""
    return bool(Job.objects.filter(id=job.id, is_quarantined=True).update(is_quarantined=False))


def _tell_the_line(job: Job) -> None:
    transaction.on_commit(lambda: moved_on.send_robust(sender=Job, team_id=job.team_id, kind=job.kind), robust=True)


def _milliseconds_since_claim() -> Cast:
    return Cast(Extract(Now() - F("claimed_at"), "epoch") * 1000, IntegerField())


def _back_off(attempts: int, kind: FailureKind) -> timedelta:
    first, factor, least = BACK_OFFS[kind]
    seconds = min(settings.RETRY_SECONDS_MAX, first * settings.RETRY_BASE_SECONDS * factor ** (attempts - 1))
    return timedelta(seconds=seconds * random.uniform(least, 1.2))
