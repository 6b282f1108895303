"""The post stage: check, encode, store, finish. It runs beside the device, which draws the next batch meanwhile.

A person sees a picture before it is stored: its preview goes to the watchers first, the files right behind it.
"""

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from generation import events, storage, transitions
from generation.encode import encode_original, encode_preview, encode_thumbnail
from generation.engine import safety
from generation.failures import Failure, FailureKind
from generation.leases import Leases
from generation.models import Image, Job
from tenkaigen import alarms
from tenkaigen.errors import Busy
from tenkaigen.failpoints import failpoint

if TYPE_CHECKING:
    import numpy as np

logger = structlog.get_logger(__name__)

ALL_BLOCKED = Failure("blocked", "The picture did not pass our image check, so it is not shown.")
NOT_STORED = Failure("storage", "The picture was made but could not be stored.", FailureKind.OUTAGE)
NOT_FINISHED = Failure("post", "The picture was made but could not be delivered.", FailureKind.RETRYABLE)
FINISH_TRIES_MAX = 5
FINISH_RETRY_SECONDS = 0.5  # before the second try; longer before each other
NOBODYS_FAULT = {ALL_BLOCKED.code, "too_few_pictures", "loss_diverged"}  # no reason to wake anybody


@dataclass(frozen=True, slots=True)
class Drawn:
    """All pictures of one job; None in the place of one that the model spoiled."""

    job: Job
    pictures: "list[np.ndarray | None]"
    device_ms: int  # since its batch began
    seconds_per_image: float  # of the device, company accounted for
    done_at: float  # time.monotonic()


@dataclass(slots=True)
class Delivery:
    """A job's pictures on their way from the device to the person."""

    drawn: Drawn
    model_revision: str
    keys_written: list[str] = field(default_factory=list)
    blocked: list[dict[str, object]] = field(default_factory=list)
    is_shown: bool = False

    @property
    def job(self) -> Job:
        return self.drawn.job


class Poster:
    """A few threads behind a bounded queue: a store slower than the device slows the device, and loses nothing."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._queue: queue.Queue[Delivery | None] = queue.Queue(settings.POST_QUEUE_BATCHES_MAX)
        # Each delivery waits for its store most of the time, so several are on their way at once.
        self._threads = [
            threading.Thread(target=self._work, name=f"post-{number}", daemon=True)
            for number in range(settings.POST_THREADS)
        ]
        self._uploads = ThreadPoolExecutor(settings.UPLOAD_THREADS, thread_name_prefix="upload")

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def put(self, delivery: Delivery) -> None:
        """Hand over a job; waits while the queue is full."""
        self._queue.put(delivery)

    def wait(self) -> None:
        """Wait until everything handed over so far is delivered."""
        self._queue.join()

    def stop(self, seconds: float) -> None:
        """Deliver what is queued, for at most `seconds`; the leases of the rest run out. A repeated call only waits."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                self._end_one(until)
        for thread in self._threads:
            thread.join(timeout=max(0.0, until - time.monotonic()))
        self._uploads.shutdown(wait=False)

    def _end_one(self, until: float) -> None:
        try:
            self._queue.put(None, timeout=max(0.0, until - time.monotonic()))
        except queue.Full:
            logger.warning("post_stage_abandoned", deliveries=self._queue.qsize())

    def _work(self) -> None:
        while delivery := self._queue.get():
            try:
                with structlog.contextvars.bound_contextvars(job_id=str(delivery.job.id)):
                    close_old_connections()
                    deliver(delivery, self._leases, self._uploads)
            except Exception:  # its lease runs out; without this thread the device would soon wait for ever
                logger.exception("delivery_lost", job_id=str(delivery.job.id))
            finally:
                self._queue.task_done()
        self._queue.task_done()
        connection.close()


def deliver(delivery: Delivery, leases: Leases, uploads: ThreadPoolExecutor) -> None:
    """Bring one job to its end. Whatever goes wrong ends in a status, never in silence."""
    job = delivery.job
    try:
        with _uploading(uploads) as puts:
            pictures = enumerate(delivery.drawn.pictures)
            images = [image for place, pixels in pictures if (image := _store(delivery, place, pixels, puts))]
            _note_device_done(delivery)
        leases.note_progress([job])
        if not images:
            _give_up(delivery, ALL_BLOCKED)
        elif not surely(job, lambda: transitions.finish(job, images, blocked=delivery.blocked)):
            logger.warning("late_delivery_dropped")
            storage.delete(delivery.keys_written)
            events.forget([job.id])  # what we said of it is not so any more
        else:
            failpoint("finish.after_commit")
            events.publish([job.id], events.Progress(status=Job.Status.COMPLETED))
            events.end_preview(job.id)
    except storage.StorageFailed:
        _give_up(delivery, NOT_STORED)
    except Exception:
        logger.exception("post_stage_failed")
        # A commit whose answer was lost may name the files. Who ends the attempt knows that nothing does.
        if report_failure(job, NOT_FINISHED):
            storage.delete(delivery.keys_written)
    finally:
        leases.drop(job)


@contextmanager
def _uploading(uploads: ThreadPoolExecutor) -> "Iterator[Uploads]":
    """Whatever happens inside, no file of this delivery is on its way any more when the block is left.

    Raises:
        StorageFailed: of the first file that did not get there.
    """
    puts = Uploads(uploads)
    try:
        yield puts
    finally:
        wait(puts.futures)
    for future in puts.futures:
        future.result()


class Uploads:
    """The files of one delivery, on their way side by side."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self.futures: list[Future[None]] = []

    def put(self, key: str, content: bytes) -> None:
        self.futures.append(self._pool.submit(_put, key, content))


def _put(key: str, content: bytes) -> None:
    failpoint("post.before_put")
    storage.put(key, content)
    failpoint("post.after_put")


def _store(delivery: Delivery, place: int, pixels: "np.ndarray | None", puts: Uploads) -> Image | None:
    """Check, show, encode and send off one picture. None: it is not to be shown."""
    job = delivery.job
    verdict = safety.BROKEN if pixels is None else safety.check(pixels)
    if pixels is None or not verdict.ok:
        delivery.blocked.append({"index": place, "code": verdict.code, "reason": verdict.reason})
        return None
    keys = storage.keys_of(job, place)
    delivery.keys_written += keys  # before the writes: a store may keep a file and still report an error
    preview = encode_preview(pixels)
    _show(delivery, preview)
    puts.put(keys.preview, preview)
    original = encode_original(pixels)
    puts.put(keys.original, original)
    puts.put(keys.thumbnail, encode_thumbnail(pixels))
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
        size_bytes=len(original),
        sha256=hashlib.sha256(original).hexdigest(),
    )


def _show(delivery: Delivery, preview: bytes) -> None:
    """Let the watchers see the first picture now; it is stored in a moment."""
    if delivery.is_shown:
        return
    delivery.is_shown = True
    job, steps = delivery.job, delivery.job.num_inference_steps
    events.publish([job.id], events.Progress(job.status, "storing", steps, steps, has_preview=True), [preview])


def _note_device_done(delivery: Delivery) -> None:
    drawn = delivery.drawn
    events.note_speed(drawn.job.model, drawn.seconds_per_image)
    transitions.note_device_done(
        drawn.job,
        device_ms=drawn.device_ms,
        model_revision=delivery.model_revision,
        seconds_ago=time.monotonic() - drawn.done_at,
    )


def surely(job: Job, finish: Callable[[], bool]) -> bool:
    """Finish a job although the database hiccups. Whether this worker still held it.

    Raises:
        Busy, DatabaseError: of the last try; a commit may have gone through all the same.
    """
    for attempt in range(1, FINISH_TRIES_MAX + 1):
        try:
            # After a lost connection nobody knows whether the commit went through, or still will: the fence answers.
            return finish() or (attempt > 1 and _was_finished(job))
        except (Busy, DatabaseError) as error:
            if attempt == FINISH_TRIES_MAX:
                raise
            logger.warning("finish_again", attempt=attempt, error=type(error).__name__)
            time.sleep(FINISH_RETRY_SECONDS * attempt)
            close_old_connections()
    raise AssertionError("the loop returns or raises")


def _was_finished(job: Job) -> bool:
    # `finish` leaves the fence as it was, and nobody else completes a job under our fence.
    return Job.objects.filter(id=job.id, fence=job.fence, status=Job.Status.COMPLETED).exists()


def _give_up(delivery: Delivery, failure: Failure) -> None:
    storage.delete(delivery.keys_written)
    report_failure(delivery.job, failure)


def report_failure(job: Job, failure: Failure) -> bool:
    """Fail a job in the database and tell its watchers. A dead database leaves the rest to the lease.

    Whether the attempt was ours to end, and ended: then nothing was finished under its fence, and never will be.
    """
    try:
        if not transitions.fail(job, failure):
            return False
    except (Busy, DatabaseError) as error:
        logger.warning("fail_later", error=type(error).__name__)
        return False
    try:
        job.refresh_from_db(fields=["status"])
    except DatabaseError:
        events.forget([job.id])  # whoever looks next asks the database
    else:
        _tell_of(job, failure)
    return True


def _tell_of(job: Job, failure: Failure) -> None:
    logger.warning("job_failed", code=failure.code, status=job.status, attempt=job.attempts)
    if job.status == Job.Status.FAILED and failure.code not in NOBODYS_FAULT:
        alarms.ring("job_failed_for_good", job_id=str(job.id), code=failure.code)
    if job.is_over:
        events.publish([job.id], events.Progress(status=job.status))
    else:
        events.forget([job.id])
