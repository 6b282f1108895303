"""What people may do with pictures. Pages, REST views, admin actions and commands all come here."""

import secrets
from uuid import UUID, uuid4

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts import activity
from accounts.models import ApiKey, Team, User
from credits import plans
from credits import services as credits
from credits.pricing import Quote
from generation import bell, events, looks, queries, rates, storage, transitions, wording
from generation.errors import (
    JobIsOver,
    JobNotOver,
    NotAPicture,
    NothingToGiveBack,
    RequestKeyReused,
)
from generation.looks import DrawnWith
from generation.models import Image, ImageModel, Job
from generation.params import SEED_MAX, Params, make, size_name
from generation.prompts import Expansion
from tenkaigen.failpoints import failpoint

REQUEST_KEY_CHARS_MAX = 80


def submit_job(
    *,
    team: Team,
    user: User,
    params: Params,
    request_key: str,
    at_most_centi: int | None = None,
    api_key: ApiKey | None = None,
) -> Job:
    """Set the credits aside, create the job and wake a GPU worker once all of it is committed.

    A repeated `request_key` with the same request returns the first job and charges nothing. `at_most_centi` is the
    price in credits that the person was shown; they are never charged more. `api_key` is the key that a program submits
    with: it spends within its own cap.

    Raises:
        InvalidParams: a style, product, look or model that is not offered, or not the team's.
        ModelNotReady: the team's model has no version to draw with yet.
        PromptRefused: the policy forbids a prompt.
        RequestKeyReused: the key was used for another request.
        InsufficientCredits, PriceChanged, WalletFrozen, Busy: as `ledger.reserve`.
        KeyCapReached: the key has spent what it may in this calendar month.
        TooFast: the plan allows fewer requests an hour, or asks for a pause between two.
        TooManyJobs: the team has as many unfinished jobs as its plan allows.
        QueueFull: everybody together has `QUEUE_LENGTH_MAX` queued jobs.
    """
    if first := first_job(team, request_key, params):
        return first
    drawn = looks.resolve(team, params)
    quote = price_of(params, drawn)
    words, may_improve = wording.words_for_now(params, drawn)
    job = _new_job(team, user, params, words, drawn)
    job.request_key, job.quote, job.api_key = request_key, quote.as_dict(), api_key
    try:
        with transaction.atomic():
            limits = plans.limits_of(team.pk)
            job.plan = limits.plan
            wait = settings.EXPANSION_WAIT_SECONDS if may_improve else 0
            transitions.submit(job, quote, limits, wait_seconds=wait, at_most_centi=at_most_centi)
            # Reserving locked the wallet, so no other submit of this team is counting right now.
            rates.refuse_crowds(team, limits)
            rates.refuse_haste(team, limits)
            activity.record(team=team, actor=user, verb="job.submitted", target=_what(job), job=str(job.id))
            if may_improve:
                bell.expand_later(job.id)  # it rings when the words are there
            else:
                bell.ring(job.kind)
            failpoint("submit.before_commit")
    except IntegrityError:
        # Another request with this key was a moment earlier.
        if first := first_job(team, request_key, params):
            return first
        raise
    return job


def improve_job(job_id: UUID) -> bool:
    """Give a waiting job Gemini's words, or at least end its wait. Whether it still waited."""
    job = transitions.awaiting_words().filter(id=job_id).first()
    if job is None:
        return False
    has_waited = transitions.rewrite(job, wording.better_words(job, params_of(job)))
    if has_waited:
        bell.ring()
    return has_waited


def cancel_job(job: Job, *, actor: User | str = "system") -> Job:
    """Close an open job and give its credits back at once; a worker that draws it stops at its next step.

    Raises:
        JobIsOver: it was completed, failed or canceled already.
        Busy: as `ledger.settle`.
    """
    with transaction.atomic():
        won = close_job(job, actor=actor)
    if not won:
        job.refresh_from_db()
        raise JobIsOver(f"This job is {job.get_status_display().lower()} already.")
    tell_canceled(job.id)
    job.refresh_from_db()
    return job


def close_job(job: Job, *, actor: User | str) -> bool:
    """The part of `cancel_job` that belongs into a transaction. Whether there was anything to close."""
    if won := transitions.cancel(job):
        activity.record(team=job.team, actor=actor, verb="job.canceled", job=str(job.id))
    return won


def tell_canceled(job_id: UUID) -> None:
    """The rest of it, for after the commit: whoever draws the job stops, whoever watches it sees that."""
    events.flag_canceled(job_id)
    events.publish([job_id], events.Progress(status=Job.Status.CANCELED))


def retry_job(job: Job) -> Job:
    """Submit a failed or canceled job's request again as a new job, for its own person and price.

    Raises:
        NotAPicture: a training is begun again from its model, which may have changed meanwhile.
        JobNotOver: it is still open, or it was completed.
        Everything that `submit_job` raises.
    """
    if job.kind != Job.Kind.IMAGE:
        raise NotAPicture("Train the model again from its own page.")
    if job.status not in (Job.Status.FAILED, Job.Status.CANCELED):
        raise JobNotOver("Only failed and canceled jobs can be tried again.")
    return submit_job(team=job.team, user=job.user, params=params_of(job), request_key=f"retry:{job.id}")


def refund_job(job: Job, *, actor: str) -> None:
    """Give back by hand what a completed job was charged, as new credits: what was spent stays spent. Again gives
    nothing more. An open job is canceled instead.

    Raises:
        NothingToGiveBack: it was charged no credits.
        Busy: the wallet's lock did not come in time.
    """
    if not job.charged_centi:
        raise NothingToGiveBack("This job was charged no credits.")
    credits.adjust(
        team=job.team, amount_centi=job.charged_centi, reference=f"job:{job.id}", actor=actor, reason="Job refunded"
    )


def params_of(job: Job) -> Params:
    """The request that would make a job's pictures again."""
    return make(
        {
            "prompt": job.prompt,
            "negative_prompt": job.negative_prompt,
            "expanded_prompt": job.expanded_prompt if job.expander else "",
            "expand": bool(job.expander),
            "model": job.model,
            "style": job.style,
            "product": job.product,
            "size": size_name(job.width, job.height),
            "quality": job.quality,
            "count": job.count,
            "seed": job.seed,
            "num_inference_steps": job.num_inference_steps,
            "guidance_scale": job.guidance_scale,
            "reference_model": job.reference_model,
            "custom_model": job.model_version.model_id if job.model_version else "",
            "version": job.model_version.number if job.model_version else None,
        }
    )


@transaction.atomic
def delete_image(image: Image, *, actor: User | str | None = None) -> None:
    """Delete a picture for good: the row now, its files as soon as that is committed.

    Without an actor it is housekeeping, which the team's log does not list.
    """
    keys = storage.files_of(image)
    if actor:
        activity.record(team=image.team, actor=actor, verb="job.image_deleted", job=str(image.job_id))
    image.delete()
    transaction.on_commit(storage.with_clean_up(keys), robust=True)


def _what(job: Job) -> str:
    return f"{job.count} × {job.model}, {size_name(job.width, job.height)}"


def price_of(params: Params, drawn: DrawnWith) -> Quote:
    """What a request costs now, drawn with that.

    Raises:
        InvalidParams: its base model is not offered.
        PriceMissing: the price list has a hole where this falls.
    """
    base = queries.offered(ImageModel, "model", params.model)
    return queries.quote(params, drawn.complexity or base.complexity)


def first_job(team: Team, request_key: str, params: Params) -> Job | None:
    """The job that a request key has made. Raises: RequestKeyReused, where it was another request."""
    return job_of_key(team, request_key, params.fingerprint())


def job_of_key(team: Team, request_key: str, fingerprint: str) -> Job | None:
    """As `first_job`, for a request of any kind."""
    job = Job.objects.filter(team=team, request_key=request_key).first()
    if job and job.request_fingerprint != fingerprint:
        raise RequestKeyReused("This request key stands for another request. Use a new one.")
    return job


def _new_job(team: Team, user: User, params: Params, words: Expansion, drawn: DrawnWith) -> Job:
    return Job(
        id=uuid4(),
        team=team,
        user=user,
        request_fingerprint=params.fingerprint(),
        prompt=params.prompt,
        expanded_prompt=words.prompt,
        negative_prompt=words.negative_prompt,
        expander=words.expander,
        style=words.style,
        franchise=words.franchise,
        product=params.product,
        model=params.model,
        reference_model=params.reference_model,
        model_version=drawn.version,
        metadata={"adapters": str(drawn.version.pk)} if drawn.version else {},
        width=params.width,
        height=params.height,
        quality=params.quality,
        count=params.count,
        seed=secrets.randbelow(SEED_MAX - params.count) if params.seed is None else params.seed,
        num_inference_steps=params.num_inference_steps,
        guidance_scale=params.guidance_scale,
    )
