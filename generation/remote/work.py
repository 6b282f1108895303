"""The process that lets providers draw: claims, posts, asks, fetches, delivers. Any number of them may run.

All it must remember stands in rows, so that one that dies is replaced by the next without ordering anything twice.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.db import DatabaseError, IntegrityError, close_old_connections, connection
from django.utils import timezone

from generation import events, transitions
from generation.failures import Failure, FailureKind
from generation.leases import Leases
from generation.models import Job, RemoteRequest
from generation.post import Delivery, Drawn, deliver, report_failure
from generation.remote import calls, deliveries, requests, wire
from generation.remote.calls import CallFailed, Gateway
from tenkaigen import alarms, outgoing
from tenkaigen.failpoints import failpoint
from tenkaigen.signals import Stop

if TYPE_CHECKING:
    import numpy as np

logger = structlog.get_logger(__name__)
State = RemoteRequest.State

TOO_SLOW = Failure("provider_timeout", "The service that draws this did not answer in time.", FailureKind.RETRYABLE)
BROKEN = Failure("provider_failed", "The service that draws this could not draw it.", FailureKind.RETRYABLE)
REFUSED = Failure("provider_refused", "The service that draws this refused the request.")
BAD_ANSWER = Failure("provider_answer", "The service that draws this sent no picture.", FailureKind.RETRYABLE)
TRIES_MAX = 3
NEW_PER_TICK_MAX = 10
CLEAN_SECONDS = 600


class RemoteWorker:
    """`tick` looks what is due and starts it; what was started runs on threads. One thread may tick.

    Args:
        client: how providers are reached; tests allow their own servers.
    """

    def __init__(self, client: outgoing.Client) -> None:
        self._gateway = Gateway(client)
        self._leases = Leases(on_beat=self.beat)
        self._is_beating = False
        self._threads = ThreadPoolExecutor(settings.REMOTE_CALLS_MAX, "remote")
        self._uploads = ThreadPoolExecutor(settings.UPLOAD_THREADS, "upload")
        self._running: set[Future[None]] = set()
        self._cleaned_at = float("-inf")

    def start(self) -> None:
        """Keep the leases of what providers draw, from a thread of its own."""
        self._is_beating = True
        self._leases.start()

    def stop(self) -> None:
        """Finish the calls that are on their way. What providers are drawing stays theirs, for the next process."""
        self._threads.shutdown(wait=True)
        self._uploads.shutdown(wait=True)
        if self._is_beating:
            self._leases.stop()

    def tick(self) -> int:
        """Claim what providers have room for, and start the calls that are due. How many were started."""
        self._running = {call for call in self._running if not call.done()}
        self.claim()
        taken = requests.take_due(settings.REMOTE_CALLS_MAX - len(self._running))
        self._running |= {self._threads.submit(self._work_on_thread, request) for request in taken}
        self._clean_up()
        return len(taken)

    def claim(self) -> None:
        """Open a request for every job that a provider has room for."""
        for provider in requests.available():
            for _ in range(NEW_PER_TICK_MAX):
                if not requests.begin(provider):
                    break

    def work_on(self, request: RemoteRequest) -> None:
        """Make the next call of a request. Whatever goes wrong is tried again later, until its deadline ends it."""
        with structlog.contextvars.bound_contextvars(job_id=str(request.job_id), provider=request.provider.slug):
            try:
                Errand(self._gateway, self._leases, self._uploads, request).run()
            except Exception:
                logger.exception("remote_call_failed")

    def wait(self) -> None:
        """Wait until everything that was started has ended."""
        for call in self._running:
            call.result()

    def beat(self) -> None:
        """Renew the leases of what providers draw, and say what they serve. Called every `HEARTBEAT_SECONDS`."""
        transitions.heartbeat(requests.held())
        for provider in requests.available():
            name = requests.worker_name(provider)
            events.worker_is_here(name, state="idle", models=provider.serves, has_adapters=False)

    def _clean_up(self) -> None:
        if time.monotonic() - self._cleaned_at > CLEAN_SECONDS:
            self._cleaned_at = time.monotonic()
            deliveries.delete_old()

    def _work_on_thread(self, request: RemoteRequest) -> None:
        close_old_connections()
        try:
            self.work_on(request)
        finally:
            connection.close()


class Errand:
    """The next thing to do for one request."""

    def __init__(self, gateway: Gateway, leases: Leases, uploads: ThreadPoolExecutor, request: RemoteRequest) -> None:
        self._gateway, self._leases, self._uploads, self._request = gateway, leases, uploads, request
        self._job, self._provider = request.job, request.provider

    def run(self) -> None:
        request = self._request
        if self._job.is_over:
            self._close_with_job()
        elif not requests.is_held(request):
            self._wait_for_the_job()
        elif request.is_late:  # type: ignore[attr-defined]  # annotated by `take_due`
            self._fail(TOO_SLOW, State.EXPIRED, "the deadline has passed")
        elif request.state == State.DELIVERING:
            requests.look_again(request)
        elif request.state == State.UNSENT:
            self._post()
        elif request.state == State.POSTED:
            self._ask()
        else:
            self._deliver()

    def _wait_for_the_job(self) -> None:
        """It was taken from us and waits for its next claim, or another worker has it now."""
        if self._request.is_late:  # type: ignore[attr-defined]
            requests.close(self._request, State.EXPIRED, failure="the deadline has passed")
        else:
            requests.look_again(self._request)

    def _post(self) -> None:
        failpoint("remote.before_post")
        try:
            outcome = self._gateway.order(self._request)
        except CallFailed as failure:
            self._post_again_or_not(failure)
            return
        failpoint("remote.after_post")
        requests.note_success(self._provider)
        steps = self._job.num_inference_steps
        events.publish([self._job.id], events.Progress(Job.Status.PROCESSING, "drawing", 0, steps))
        if outcome.is_done:
            self._take_answer(outcome)
            return
        try:
            # Without an id of its own the provider goes by the one that the order carried.
            requests.note_posted(self._request, outcome.request_id or str(self._request.id))
        except IntegrityError:
            self._fail(BROKEN, State.FAILED, "it gave two requests one id")

    def _post_again_or_not(self, failure: CallFailed) -> None:
        if failure.kind == calls.NOT_NOW:
            # It has not taken the job: no attempt of the job's, and some peace for the provider.
            requests.pause(self._provider)
            if transitions.release(self._job):
                events.forget([self._job.id])
            requests.close(self._request, State.FAILED, failure=str(failure))
            alarms.ring("provider_takes_nothing", provider=self._provider.slug, reason=str(failure))
        elif failure.kind == calls.REFUSED:
            self._fail(REFUSED, State.FAILED, str(failure))
        elif self._request.attempts + 1 < TRIES_MAX:
            requests.try_again(self._request, str(failure))
        else:
            requests.pause(self._provider)
            self._fail(BROKEN, State.FAILED, str(failure))

    def _ask(self) -> None:
        if deliveries.apply_kept(self._request):
            return
        if not self._provider.status_url:
            requests.poll_again(self._request)
            return
        try:
            outcome = self._gateway.ask(self._request)
        except CallFailed as failure:
            if failure.kind == calls.REFUSED and self._request.attempts + 1 >= TRIES_MAX:
                self._fail(BROKEN, State.FAILED, str(failure))
            else:
                requests.try_again(self._request, str(failure))
            return
        if outcome.is_done:
            self._take_answer(outcome)
        else:
            requests.poll_again(self._request)

    def _take_answer(self, outcome: wire.Outcome) -> None:
        """Whether it was asked for or delivered meanwhile: the first one counts."""
        requests.note_answer(RemoteRequest.objects.filter(pk=self._request.pk, fence=self._request.fence), outcome)

    def _deliver(self) -> None:
        outcome = wire.Outcome.from_dict(self._request.answer)
        if outcome.is_failed:
            self._fail(BROKEN, State.FAILED, outcome.error)
            return
        steps = self._job.num_inference_steps
        events.publish([self._job.id], events.Progress(Job.Status.PROCESSING, "storing", steps, steps))
        failpoint("remote.before_fetch")
        try:
            pictures = self._gateway.fetch(self._provider, self._job, outcome.images)
        except CallFailed as failure:
            if failure.kind == calls.UNSURE and self._request.attempts + 1 < TRIES_MAX:
                requests.try_again(self._request, str(failure))
            else:
                alarms.ring("provider_answer_refused", provider=self._provider.slug, reason=str(failure))
                self._fail(BAD_ANSWER, State.FAILED, str(failure))
            return
        self._hand_over(pictures)

    def _hand_over(self, pictures: "list[np.ndarray]") -> None:
        if not requests.start_delivery(self._request):
            return
        failpoint("remote.before_delivery")
        seconds = (timezone.now() - self._request.created_at).total_seconds() / self._job.count
        # No device of ours was busy, so none is paid for.
        drawn = Drawn(self._job, list(pictures), device_ms=0, seconds_per_image=seconds, done_at=time.monotonic())
        self._leases.add([self._job])
        deliver(Delivery(drawn, requests.worker_name(self._provider)), self._leases, self._uploads)
        failpoint("remote.before_close")
        self._job.refresh_from_db()
        if self._job.is_over:
            self._close_with_job()
        else:
            requests.keep_answer(self._request)

    def _close_with_job(self) -> None:
        delivered = self._job.images.count() if self._was_ours() else 0
        if delivered:
            requests.close(self._request, State.DELIVERED, images=delivered)
        else:
            requests.close(self._request, State.DROPPED, failure=f"the job is {self._job.status}")

    def _was_ours(self) -> bool:
        return self._job.status == Job.Status.COMPLETED and self._job.fence == self._request.fence

    def _fail(self, failure: Failure, state: str, reason: str) -> None:
        # First the job: should this process die in between, the next look finds it over, or queued again.
        report_failure(self._job, failure)
        requests.close(self._request, state, failure=reason)


def run(worker: RemoteWorker, stop: Stop) -> None:
    """Tick until told to stop."""
    worker.start()
    try:
        while not stop.wait(settings.REMOTE_TICK_SECONDS):
            try:
                close_old_connections()
                worker.tick()
            except DatabaseError as error:
                logger.warning("database_is_away", error=type(error).__name__)
    finally:
        worker.stop()
