"""What people may do with pictures. Pages, REST views, admin actions and commands all come here."""

import secrets
from dataclasses import replace
from typing import TypeVar
from uuid import UUID, uuid4

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts import activity
from accounts.models import ApiKey, Team, User
from credits import plans
from generation import events, expansion, policy, queries, rates, storage, tasks, transitions
from generation.errors import (
    InvalidParams,
    JobIsOver,
    JobNotOver,
    NotAPicture,
    PromptRefused,
    RequestKeyReused,
)
from generation.models import CatalogueRow, Image, ImageModel, Job, Product, Style
from generation.params import SEED_MAX, Params, make, size_name
from generation.prompts import Expansion, local
from tenkaigen.failpoints import failpoint

REQUEST_KEY_CHARS_MAX = 80
Row = TypeVar("Row", bound=CatalogueRow)


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
        InvalidParams: a style, product or model that is not offered.
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
    model = offered_model(params)
    words, may_improve = _words_for_now(params)
    quote = queries.quote(params, model.complexity)
    job = _new_job(team, user, params, words)
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
                tasks.expand_later(job.id)  # it rings when the words are there
            else:
                tasks.ring(job.kind)
            failpoint("submit.before_commit")
    except IntegrityError:
        # Another request with this key was a moment earlier.
        if first := first_job(team, request_key, params):
            return first
        raise
    return job


def suggest_prompt(*, team: Team, params: Params) -> Expansion:
    """What would be drawn for a request: Gemini's words where this server has it. Takes up to `GEMINI_SECONDS_MAX`.

    When Gemini fails it is our own expansion, and its `note` says why.

    Raises:
        As `parse_prompt`.
    """
    made = parse_prompt(params)
    return expansion.ask(team.pk, params, made) if _is_improvable(made) else made


def improve_job(job_id: UUID) -> bool:
    """Give a waiting job Gemini's words, or at least end its wait. Whether it still waited."""
    job = transitions.awaiting_words().filter(id=job_id).first()
    if job is None:
        return False
    params = replace(params_of(job), expanded_prompt="")
    made = expand_prompt(replace(params, negative_prompt=""))
    if job.negative_prompt == made.negative_prompt:  # nobody asked for it: Gemini may write another
        params = replace(params, negative_prompt="")
    made = replace(made, negative_prompt=job.negative_prompt)
    has_waited = transitions.rewrite(job, expansion.ask(job.team_id, params, made))
    if has_waited:
        tasks.ring()
    return has_waited


def parse_prompt(params: Params) -> Expansion:
    """What our own expansion makes of a request, without delay. Nothing is kept.

    Raises:
        InvalidParams: a style or product that is not offered.
        PromptRefused: the policy forbids a prompt.
    """
    made = expand_prompt(params)
    _refuse_forbidden(params.prompt, made.prompt, made.negative_prompt)
    return made


def expand_prompt(params: Params) -> Expansion:
    """What the engine will be given for a request: the person's edit, our expansion, or their bare words.

    Raises:
        InvalidParams: a style or product that is not offered.
    """
    style = _offered(Style, "style", params.style) if params.style else None
    product = _offered(Product, "product", params.product) if params.product else None
    made = local.expand(
        params.prompt,
        style=queries.recipe_of(style) if style else None,
        styles=[] if style else [queries.recipe_of(row) for row in queries.styles()],
        product_recipe=product.recipe if product else "",
    )
    negative = params.negative_prompt or (made.negative_prompt if params.expand else "")
    if not params.expand:
        return Expansion(params.prompt, negative, params.style, made.franchise, expander="")
    if params.expanded_prompt:
        return Expansion(params.expanded_prompt, negative, made.style, made.franchise, expander="person")
    return Expansion(made.prompt, negative, made.style, made.franchise, made.expander)


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


def _words_for_now(params: Params) -> tuple[Expansion, bool]:
    """The best words that are there without asking anybody, and whether Gemini may find better ones."""
    made = parse_prompt(params)
    if not _is_improvable(made):
        return made, False
    remembered = expansion.known(params, made)
    return remembered or made, remembered is None and not expansion.is_resting()


def _what(job: Job) -> str:
    return f"{job.count} × {job.model}, {size_name(job.width, job.height)}"


def _is_improvable(made: Expansion) -> bool:
    return expansion.is_on() and made.expander == "local"


def offered_model(params: Params) -> ImageModel:
    """The model that a request names. Raises: InvalidParams, where it is not offered."""
    return _offered(ImageModel, "model", params.model)


def first_job(team: Team, request_key: str, params: Params) -> Job | None:
    """The job that a request key has made. Raises: RequestKeyReused, where it was another request."""
    return job_of_key(team, request_key, params.fingerprint())


def job_of_key(team: Team, request_key: str, fingerprint: str) -> Job | None:
    """As `first_job`, for a request of any kind."""
    job = Job.objects.filter(team=team, request_key=request_key).first()
    if job and job.request_fingerprint != fingerprint:
        raise RequestKeyReused("This request key stands for another request. Use a new one.")
    return job


def _offered(rows: type[Row], field: str, slug: str) -> Row:
    row = rows._default_manager.filter(slug=slug, is_active=True).first()
    if row is None:
        raise InvalidParams({field: f"There is no {field} called {slug!r}."})
    return row


def _refuse_forbidden(*texts: str) -> None:
    if rule := policy.refusal(*texts):
        raise PromptRefused(rule.reason)


def _new_job(team: Team, user: User, params: Params, words: Expansion) -> Job:
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
        width=params.width,
        height=params.height,
        quality=params.quality,
        count=params.count,
        seed=secrets.randbelow(SEED_MAX - params.count) if params.seed is None else params.seed,
        num_inference_steps=params.num_inference_steps,
        guidance_scale=params.guidance_scale,
    )
