"""Every move of a remote request and of a provider's pause. Each is a conditional UPDATE that says whether it won.

A request belongs to no process: whoever takes it while it is due makes its next call, and has some time for it alone.
Only the delivery of its pictures is one process's own, as two would write the same files. The clock is the database's.
"""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, Case, ExpressionWrapper, F, Q, QuerySet, When
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Coalesce, Now

from generation import transitions
from generation.models import Job, Provider, RemoteRequest
from generation.remote import wire

State = RemoteRequest.State
OPEN = RemoteRequest.OPEN
CALL_SECONDS = 70  # longer than a question and its result may take
FETCH_SECONDS = 150  # longer than the pictures of one job may take
DELIVER_SECONDS = 300  # from the provider's answer to the pictures in our store
POLL_SECONDS_MAX = 15.0
PAUSE_SECONDS_MAX = 900
PAUSE_SECONDS = 30
FAILURE_CHARS_MAX = 300


def available() -> list[Provider]:
    """Who may be given a job now: active, not paused, with its secret in the environment."""
    ready = Provider.objects.filter(Q(paused_until=None) | Q(paused_until__lte=Now()), is_active=True)
    return [provider for provider in ready if settings.PROVIDER_SECRETS.get(provider.api_secret)]


@transaction.atomic
def begin(provider: Provider) -> RemoteRequest | None:
    """Claim the next job that a provider serves and open a request for it; None: nothing waits, or it is full.

    A job that comes back after its lease ran out takes its open request with it: nothing is ordered twice. Until then
    that request has no place: the jobs that went back would keep each other from coming again.
    """
    locked = _lock(provider)
    ours = Q(job__status=Job.Status.PROCESSING, job__fence=F("fence"))
    if locked.requests.filter(ours, state__in=OPEN).count() >= locked.requests_max:
        return None
    claimed = transitions.claim(
        worker=worker_name(locked),
        models=locked.serves,
        images_max=lambda job: job.count,
        has_adapters=False,
        may_wait=False,  # the next tick finds who was locked
    )
    if not claimed:
        return None
    (job,) = claimed
    return _adopt(job) or _open(locked, job)


def worker_name(provider: Provider) -> str:
    """What stands as the worker in the rows of its jobs."""
    return f"remote:{provider.slug}"


@transaction.atomic
def take_due(most: int) -> list[RemoteRequest]:
    """Requests whose time has come, for the caller alone while its call may take. Each knows if it `is_late`."""
    due = RemoteRequest.objects.filter(state__in=OPEN, next_poll_at__lte=Now()).order_by("next_poll_at")
    taken = list(due.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True)[:most])
    alone = Case(When(state=State.ANSWERED, then=_in(FETCH_SECONDS)), default=_in(CALL_SECONDS))
    RemoteRequest.objects.filter(pk__in=taken).update(next_poll_at=alone)
    is_late = ExpressionWrapper(Q(deadline_at__lte=Now()), output_field=BooleanField())
    return list(RemoteRequest.objects.filter(pk__in=taken).select_related("provider", "job").annotate(is_late=is_late))


def held() -> list[tuple[UUID, int]]:
    """(job id, fence) of every request that a provider has time for, to renew its lease. Deliveries renew their own."""
    alive = RemoteRequest.objects.filter(state__in=(State.UNSENT, State.POSTED, State.ANSWERED), deadline_at__gt=Now())
    return list(alive.values_list("job_id", "fence"))


def note_posted(request: RemoteRequest, provider_request_id: str) -> bool:
    """The provider has it and gave it an id.

    Raises:
        IntegrityError: it gave another request that id, too.
    """
    with transaction.atomic():
        return _now(request, State.UNSENT).update(
            state=State.POSTED,
            provider_request_id=provider_request_id,
            attempts=0,
            posted_at=Now(),
            next_poll_at=_in(settings.REMOTE_RETRY_SECONDS),
        ) == 1  # fmt: skip


def note_answer(requests: QuerySet[RemoteRequest], outcome: wire.Outcome) -> int:
    """Keep what a provider says of requests that wait for it, the first time. How many waited."""
    waiting = requests.filter(state__in=(State.UNSENT, State.POSTED))
    if not outcome.is_done:
        return 0
    if not (outcome.images or outcome.is_failed):
        return waiting.update(next_poll_at=Now())  # done, it says, but its pictures must be asked for
    return waiting.update(
        state=State.ANSWERED,
        answer=outcome.as_dict(),
        attempts=0,
        posted_at=Coalesce(F("posted_at"), Now()),
        answered_at=Now(),
        next_poll_at=Now(),
        deadline_at=_in(DELIVER_SECONDS),
    )


def poll_again(request: RemoteRequest) -> None:
    """Ask again, a little later than last time."""
    seconds = settings.REMOTE_RETRY_SECONDS * 1.5 ** min(request.polls, 20)
    _now(request, State.POSTED).update(polls=F("polls") + 1, next_poll_at=_in(min(seconds, POLL_SECONDS_MAX)))


def try_again(request: RemoteRequest, failure: str) -> None:
    """Make the same call again after a back-off."""
    seconds = min(settings.REMOTE_RETRY_SECONDS * 2 ** min(request.attempts, 10), POLL_SECONDS_MAX)
    _now(request, request.state).update(
        attempts=F("attempts") + 1, failure=failure[:FAILURE_CHARS_MAX], next_poll_at=_in(seconds)
    )


def look_again(request: RemoteRequest) -> None:
    """Nothing to do while the job waits for its next claim."""
    _now(request, request.state).update(next_poll_at=_in(settings.LEASE_SECONDS))


def start_delivery(request: RemoteRequest) -> bool:
    """Make the delivery this process's own. Whether nobody else has it."""
    return _now(request, State.ANSWERED).update(state=State.DELIVERING) == 1


def keep_answer(request: RemoteRequest) -> None:
    """The pictures could not be stored: they are there for the job's next attempt, however long its pause is."""
    _now(request, State.DELIVERING).update(
        state=State.ANSWERED,
        next_poll_at=_in(settings.LEASE_SECONDS),
        deadline_at=_in(DELIVER_SECONDS + 2 * settings.RETRY_SECONDS_MAX),
    )


def close(request: RemoteRequest, state: str, *, failure: str = "", images: int = 0) -> bool:
    """End a request, in whatever open state it is. Not one that the next claim of its job has taken along."""
    assert state not in OPEN
    open_now = RemoteRequest.objects.filter(pk=request.pk, state__in=OPEN, fence=request.fence)
    return open_now.update(
        state=state, failure=failure[:FAILURE_CHARS_MAX], images=images, finished_at=Now(), answer={}
    ) == 1  # fmt: skip


def note_success(provider: Provider) -> None:
    Provider.objects.filter(pk=provider.pk, failures__gt=0).update(failures=0, paused_until=None)


def pause(provider: Provider) -> None:
    """Give a provider that takes nothing some peace, longer each time."""
    seconds = min(PAUSE_SECONDS * 2 ** min(provider.failures, 10), PAUSE_SECONDS_MAX)
    Provider.objects.filter(pk=provider.pk).update(failures=F("failures") + 1, paused_until=_in(seconds))


def is_held(request: RemoteRequest) -> bool:
    """Whether the job is still this request's, as the row said when it was taken."""
    return request.job.status == Job.Status.PROCESSING and request.job.fence == request.fence


def _lock(provider: Provider) -> Provider:
    # Two processes that look at the same time would both see its last place free.
    return Provider.objects.select_for_update(no_key=True).get(pk=provider.pk)


def _adopt(job: Job) -> RemoteRequest | None:
    mine = RemoteRequest.objects.filter(job=job, state__in=OPEN)
    request = mine.filter(deadline_at__gt=Now()).select_related("provider", "job").first()
    if request is None:
        mine.update(state=State.EXPIRED, finished_at=Now())
        return None
    # Its delivery was another process's, which has lost the job: the files of the new fence are others.
    state = State.ANSWERED if request.state == State.DELIVERING else request.state
    mine.update(fence=job.fence, state=state, next_poll_at=Now())
    request.refresh_from_db()
    return request


def _open(provider: Provider, job: Job) -> RemoteRequest:
    request = RemoteRequest(
        provider=provider,
        job=job,
        fence=job.fence,
        request_key=f"{job.id}.{job.fence}",
        price_per_image=provider.price_per_image,
        deadline_at=_in(provider.deadline_seconds),
    )
    request.save(force_insert=True)
    return request


def _now(request: RemoteRequest, state: str) -> QuerySet[RemoteRequest]:
    # A job that was claimed again has taken its request to the next fence.
    return RemoteRequest.objects.filter(pk=request.pk, state=state, fence=request.fence)


def _in(seconds: float) -> CombinedExpression:
    return Now() + timedelta(seconds=seconds)
