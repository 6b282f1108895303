"""The post stage: check, encode, store, finish. It runs beside the device, which draws the next batch meanwhile."""

import hashlib
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from generation import events, storage, transitions
from generation.encode import Encoded, encode
from generation.engine import safety
from generation.leases import Leases
from generation.models import Image, Job
from generation.transitions import Failure
from tenkaigen import alarms
from tenkaigen.errors import Busy
from tenkaigen.failpoints import failpoint

if TYPE_CHECKING:
    import numpy as np

logger = structlog.get_logger(__name__)

ALL_BLOCKED = Failure("blocked", "The picture did not pass our image check, so it is not shown.", False)
NOT_STORED = Failure("storage", "The picture was made but could not be stored.", True)
NOT_FINISHED = Failure("post", "The picture was made but could not be delivered.", True)
FINISH_TRIES_MAX = 5


@dataclass(slots=True)
class Delivery:
    """A job's pictures on their way from the device to the person."""

    job: Job
    pictures: list["np.ndarray"]
    keys_written: list[str] = field(default_factory=list)
    blocked: list[dict[str, object]] = field(default_factory=list)


class Poster:
    """One thread behind a bounded queue: a store that is slower than the device slows the device, and loses nothing."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._queue: queue.Queue[Delivery | None] = queue.Queue(settings.POST_QUEUE_BATCHES_MAX)
        self._thread = threading.Thread(target=self._work, name="post", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, delivery: Delivery) -> None:
        """Hand over a job; waits while the queue is full."""
        self._queue.put(delivery)

    def wait(self) -> None:
        """Wait until everything handed over so far is delivered."""
        self._queue.join()

    def stop(self, seconds: float) -> None:
        """Deliver what is queued, for at most `seconds`; the leases of the rest run out."""
        self._queue.put(None)
        self._thread.join(timeout=seconds)

    def _work(self) -> None:
        while delivery := self._queue.get():
            with structlog.contextvars.bound_contextvars(job_id=str(delivery.job.id)):
                close_old_connections()
                deliver(delivery, self._leases)
            self._queue.task_done()
        self._queue.task_done()
        connection.close()


def deliver(delivery: Delivery, leases: Leases) -> None:
    """Bring one job to its end. Whatever goes wrong ends in a status, never in silence."""
    job = delivery.job
    try:
        images = [image for place, pixels in enumerate(delivery.pictures) if (image := _store(delivery, place, pixels))]
        leases.note_progress([job])
        if not images:
            _give_up(delivery, ALL_BLOCKED)
        elif not _finish(delivery, images):
            logger.warning("late_delivery_dropped")
            storage.delete(delivery.keys_written)
        else:
            failpoint("finish.after_commit")
            events.publish([job.id], events.Progress(status=Job.Status.COMPLETED))
    except storage.StorageFailed:
        _give_up(delivery, NOT_STORED)
    except Exception:
        logger.exception("post_stage_failed")
        _give_up(delivery, NOT_FINISHED)
    finally:
        leases.drop(job)


def _store(delivery: Delivery, place: int, pixels: "np.ndarray") -> Image | None:
    """Check, encode and store one picture. None: it was blocked."""
    job, verdict = delivery.job, safety.check(pixels)
    if not verdict.ok:
        delivery.blocked.append({"index": place, "code": verdict.code, "reason": verdict.reason})
        return None
    encoded = encode(pixels)
    keys = storage.keys_of(job, place)
    for key, content in zip(keys, _files(encoded), strict=True):
        delivery.keys_written.append(key)  # before the write: a store may keep a file and still report an error
        failpoint("post.before_put")
        storage.put(key, content)
        failpoint("post.after_put")
    height, width = pixels.shape[:2]
    return Image(
        job=job,
        team_id=job.team_id,
        index=place,
        seed=job.seed + place,
        key=keys.original,
        preview_key=keys.preview,
        thumbnail_key=keys.thumbnail,
        width=width,
        height=height,
        size_bytes=len(encoded.original),
        sha256=hashlib.sha256(encoded.original).hexdigest(),
    )


def _files(encoded: Encoded) -> tuple[bytes, bytes, bytes]:
    return encoded.original, encoded.preview, encoded.thumbnail


def _finish(delivery: Delivery, images: list[Image]) -> bool:
    for attempt in range(1, FINISH_TRIES_MAX + 1):
        try:
            return transitions.finish(delivery.job, images, blocked=delivery.blocked)
        except (Busy, DatabaseError) as error:
            # After a lost connection nobody knows whether the commit went through: the fence answers, next time.
            if attempt == FINISH_TRIES_MAX:
                raise
            logger.warning("finish_again", attempt=attempt, error=type(error).__name__)
            time.sleep(0.5 * attempt)
            close_old_connections()
            if _was_finished(delivery.job):
                return True
    raise AssertionError("the loop returns or raises")


def _was_finished(job: Job) -> bool:
    # `finish` leaves the fence as it was, and nobody else completes a job under our fence.
    return Job.objects.filter(id=job.id, fence=job.fence, status=Job.Status.COMPLETED).exists()


def _give_up(delivery: Delivery, failure: Failure) -> None:
    storage.delete(delivery.keys_written)
    report_failure(delivery.job, failure)


def report_failure(job: Job, failure: Failure) -> None:
    """Fail a job in the database and tell its watchers. A dead database leaves the rest to the lease."""
    try:
        won = transitions.fail(job, failure)
    except (Busy, DatabaseError) as error:
        logger.warning("fail_later", error=type(error).__name__)
        return
    if won:
        job.refresh_from_db(fields=["status"])
        logger.warning("job_failed", code=failure.code, status=job.status, attempt=job.attempts)
        if job.status == Job.Status.FAILED and failure.code not in {ALL_BLOCKED.code}:
            alarms.ring("job_failed_for_good", job_id=str(job.id), code=failure.code)
        if job.is_over:
            events.publish([job.id], events.Progress(status=job.status))
        else:
            events.forget([job.id])
