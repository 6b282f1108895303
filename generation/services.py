"""What people may do with pictures. Pages, REST views, admin actions and commands all come here."""

import secrets
from typing import TypeVar
from uuid import uuid4

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import Team, User
from generation import events, policy, queries, storage, tasks, transitions
from generation.errors import (
    InvalidParams,
    JobIsOver,
    JobNotOver,
    PromptRefused,
    QueueFull,
    RequestKeyReused,
    TooManyJobs,
)
from generation.models import CatalogueRow, Image, ImageModel, Job, Product, Style
from generation.params import SEED_MAX, Params, make, size_name
from generation.prompts import Expansion, local

REQUEST_KEY_CHARS_MAX = 80
Row = TypeVar("Row", bound=CatalogueRow)


def submit_job(*, team: Team, user: User, params: Params, request_key: str) -> Job:
    """Set the credits aside, create the job and wake a GPU worker once all of it is committed.

    A repeated `request_key` with the same request returns the first job and charges nothing.

    Raises:
        InvalidParams: a style, product or model that is not offered.
        PromptRefused: the policy forbids a prompt.
        RequestKeyReused: the key was used for another request.
        InsufficientCredits, WalletFrozen, Busy: as `ledger.reserve`.
        TooManyJobs: the team has `JOBS_PER_TEAM_MAX` unfinished jobs.
        QueueFull: everybody together has `QUEUE_LENGTH_MAX` queued jobs.
    """
    if first := _job_of(team, request_key, params):
        return first
    model = _offered(ImageModel, "model", params.model)
    expansion = parse_prompt(params)
    quote = queries.quote(params, model.complexity)
    job = _new_job(team, user, params, expansion)
    job.request_key, job.quote = request_key, quote.as_dict()
    try:
        with transaction.atomic():
            transitions.submit(job, quote)
            # Reserving locked the wallet, so no other submit of this team is counting right now.
            _refuse_crowds(team)
            tasks.ring()
    except IntegrityError:
        # Another request with this key was a moment earlier.
        if first := _job_of(team, request_key, params):
            return first
        raise
    return job


def parse_prompt(params: Params) -> Expansion:
    """What `submit_job` would draw for a request. Nothing is kept.

    Raises:
        InvalidParams: a style or product that is not offered.
        PromptRefused: the policy forbids a prompt.
    """
    expansion = expand_prompt(params)
    _refuse_forbidden(params.prompt, expansion.prompt, expansion.negative_prompt)
    return expansion


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


def cancel_job(job: Job) -> Job:
    """Close an open job and give its credits back at once; a worker that draws it stops at its next step.

    Raises:
        JobIsOver: it was completed, failed or canceled already.
        Busy: as `ledger.settle`.
    """
    if not transitions.cancel(job):
        job.refresh_from_db()
        raise JobIsOver(f"This job is {job.get_status_display().lower()} already.")
    events.flag_canceled(job.id)
    events.publish([job.id], events.Progress(status=Job.Status.CANCELED))
    job.refresh_from_db()
    return job


def retry_job(job: Job) -> Job:
    """Submit a failed or canceled job's request again as a new job, for its own person and price.

    Raises:
        JobNotOver: it is still open, or it was completed.
        Everything that `submit_job` raises.
    """
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
def delete_image(image: Image) -> None:
    """Delete a picture for good: the row now, its files as soon as that is committed."""
    keys = storage.files_of(image)
    image.delete()
    transaction.on_commit(storage.with_clean_up(keys), robust=True)


def _job_of(team: Team, request_key: str, params: Params) -> Job | None:
    job = Job.objects.filter(team=team, request_key=request_key).first()
    if job and job.request_fingerprint != params.fingerprint():
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


def _refuse_crowds(team: Team) -> None:
    unfinished = Job.objects.filter(team=team, status__in=transitions.OPEN).count()
    if unfinished > settings.JOBS_PER_TEAM_MAX:
        raise TooManyJobs(f"Wait for one of your {settings.JOBS_PER_TEAM_MAX} jobs to finish.")
    if (
        Job.objects.filter(status=Job.Status.QUEUED)[: settings.QUEUE_LENGTH_MAX + 1].count()
        > settings.QUEUE_LENGTH_MAX
    ):
        raise QueueFull("The queue is full. Try again in a minute.")


def _new_job(team: Team, user: User, params: Params, expansion: Expansion) -> Job:
    return Job(
        id=uuid4(),
        team=team,
        user=user,
        request_fingerprint=params.fingerprint(),
        prompt=params.prompt,
        expanded_prompt=expansion.prompt,
        negative_prompt=expansion.negative_prompt,
        expander=expansion.expander,
        style=expansion.style,
        franchise=expansion.franchise,
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
