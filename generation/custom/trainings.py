"""How a training is ordered: everything about it in one transaction, and a bell after it."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from accounts import activity
from accounts.models import ApiKey, User
from credits import plans
from credits.pricing import Quote
from generation import bell, policy, rates, services, transitions
from generation import queries as model_queries
from generation.custom import drafts, queries, recipes, rows, rules
from generation.custom.recipes import Recipe
from generation.engine import catalog
from generation.errors import InvalidParams, ModelNotReady
from generation.models import CustomModel, Job, ModelVersion
from generation.params import SEED_MAX, fingerprint_of
from tenkaigen.failpoints import failpoint


@dataclass(frozen=True, slots=True)
class _Order:
    """Who orders a training, and what for a request that may come again."""

    user: User
    request_key: str
    fingerprint: str
    at_most_centi: int | None
    api_key: ApiKey | None


Prepare = Callable[[CustomModel, plans.Limits], tuple[Job, Quote, ModelVersion]]


def submit_training(
    model: CustomModel,
    *,
    user: User,
    request_key: str,
    at_most_centi: int | None = None,
    api_key: ApiKey | None = None,
    fingerprint: str = "",
) -> Job:
    """Train a model for the first time, also again after a training that failed: credits, job and version in one
    transaction, and a bell after it.

    A repeated `request_key` for the same model returns the first job and charges nothing. `at_most_centi` is the price
    in credits that the person was shown; they are never charged more. `api_key` is what the request came with,
    `fingerprint` what must be equal when the request key comes again; empty: that it is this model.

    Raises:
        InvalidParams: something is still missing; `problems_of` says what.
        PromptRefused: the policy forbids its name, description or a caption.
        ModelTrained, ModelNotReady: it has a version already, or is being trained.
        TooManyModels: the plan allows fewer models, or less storage.
        RequestKeyReused: the key was used for another request.
        NoSuchModel, Busy: as `rows.lock`.
        InsufficientCredits, PriceChanged, WalletFrozen, KeyCapReached: as `transitions.submit`.
        TooFast, TooManyJobs, QueueFull: as `submit_job`.
    """
    fingerprint = fingerprint or fingerprint_of({"kind": Job.Kind.CREATION, "model": str(model.pk)})

    def prepare(model: CustomModel, limits: plans.Limits) -> tuple[Job, Quote, ModelVersion]:
        rules.refuse_trained(model)
        rules.refuse_incomplete(model, limits)
        model.base_model = queries.base_model_of(model)
        version = ModelVersion(iteration=0)
        return _new_job(model, user, version, model.train_steps), rules.quote_of(model), version

    return _submit(model, _Order(user, request_key, fingerprint, at_most_centi, api_key), prepare)


def refine(
    model: CustomModel,
    *,
    user: User,
    request_key: str,
    parent: ModelVersion | None = None,
    steps: int | None = None,
    at_most_centi: int | None = None,
    api_key: ApiKey | None = None,
) -> Job:
    """Train the next version, from `parent` (the current one), with pictures that are new since then, or more steps.

    As `submit_training` otherwise.

    Raises:
        InvalidParams: nothing would change, too few or too many pictures, or steps that are not offered.
        ModelNotReady: there is no such version to start from, or the model is being trained.
        Everything else that `submit_training` raises.
    """
    fingerprint = fingerprint_of(
        {
            "kind": Job.Kind.REFINEMENT, "model": str(model.pk), "parent": str(parent.pk) if parent else None,
            "steps": steps,
        }
    )  # fmt: skip

    def prepare(model: CustomModel, limits: plans.Limits) -> tuple[Job, Quote, ModelVersion]:
        start = _start_of(model, parent)
        _refuse_unchanged(model, start, steps, limits)
        version = ModelVersion(iteration=queries.refinements_of(model) + 1, parent=start)
        return _new_job(model, user, version, steps), rules.quote_refinement(model, start), version

    return _submit(model, _Order(user, request_key, fingerprint, at_most_centi, api_key), prepare)


def _submit(model: CustomModel, order: _Order, prepare: Prepare) -> Job:
    """Everything that a first training and a refinement have in common. `prepare` is called with the model locked."""
    team = model.team
    if first := services.job_of_key(team, order.request_key, order.fingerprint):
        return first
    try:
        with transaction.atomic():
            model = rows.lock(model)
            if first := services.job_of_key(
                team, order.request_key, order.fingerprint
            ):  # the one we waited for made it
                return first
            was_draft = model.is_draft
            rules.refuse_open_training(model)
            limits = plans.limits_of(team.pk)
            _refuse_texts(model)
            job, quote, version = prepare(model, limits)
            job.request_key, job.request_fingerprint = order.request_key, order.fingerprint
            job.quote, job.plan, job.api_key = quote.as_dict(), limits.plan, order.api_key
            transitions.submit(job, quote, limits, at_most_centi=order.at_most_centi)
            _keep(model, version, job)
            # Reserving locked the wallet, so no other submit of this team is counting right now.
            if was_draft:
                rules.refuse_models(team, limits)
            rules.refuse_storage(team, limits)
            rates.refuse_crowds(team, limits)
            rates.refuse_haste(team, limits)
            verb = "model.refined" if version.iteration else "model.trained"
            activity.record(
                team=team, actor=order.user, verb=verb, target=model.name, model=str(model.pk), version=version.number,
                job=str(job.pk),
            )  # fmt: skip
            bell.ring(job.kind)
            failpoint("submit.before_commit")
    except IntegrityError:
        # Another request with this key, about another model, was a moment earlier.
        if first := services.job_of_key(team, order.request_key, order.fingerprint):
            return first
        raise
    return job


def _keep(model: CustomModel, version: ModelVersion, job: Job) -> None:
    version.model, version.job, version.number = model, job, next_number(model)
    version.save(force_insert=True)
    if model.is_draft:
        model.submitted_at = Now()
    drafts.save(model, "base_model", "submitted_at")
    model.refresh_from_db(fields=["submitted_at"])


def next_number(model: CustomModel) -> int:
    """The number of a locked model's next version. Those of versions that failed are not used again."""
    newest = model.versions.order_by("-number").values_list("number", flat=True).first()
    return (newest or 0) + 1


def _new_job(model: CustomModel, user: User, version: ModelVersion, steps: int | None) -> Job:
    """A training's job, and into `version` what it is made by."""
    recipe = _recipe(model, steps)
    version.settings, version.images_count = recipe.as_dict(), model.pictures.count()
    return Job(
        id=uuid4(),
        team=model.team,
        user=user,
        kind=Job.Kind.REFINEMENT if version.iteration else Job.Kind.CREATION,
        prompt=model.name,
        model=model.base_model,
        width=recipe.resolution,
        height=recipe.resolution,
        quality="standard",
        count=1,
        seed=recipe.seed,
        num_inference_steps=recipe.steps,
        guidance_scale=1,
    )


def _recipe(model: CustomModel, steps: int | None) -> Recipe:
    return recipes.make(
        catalog.get(model.base_model),
        trigger_word=model.trigger_word,
        pictures=model.pictures.count(),
        steps=steps,
        train_text_encoder=model.train_text_encoder,
        seed=secrets.randbelow(SEED_MAX),
    )


def _start_of(model: CustomModel, parent: ModelVersion | None) -> ModelVersion:
    start = rows.own(model, parent) if parent else model.current
    if start is None:
        raise ModelNotReady("This model has no version to start from yet.")
    if not start.is_ready:
        raise ModelNotReady(f"Version {start.number} cannot be refined: it is not trained, or was deleted.")
    return start


def _refuse_unchanged(model: CustomModel, start: ModelVersion, steps: int | None, limits: plans.Limits) -> None:
    problems: dict[str, str] = {}
    drafts.steps_of("steps", steps, problems)
    if problem := rules.pictures_problem(model, limits):
        problems["pictures"] = problem
    elif steps is None and not model.pictures.filter(created_at__gt=start.created_at).exists():
        problems["pictures"] = f"Add pictures that are new since version {start.number}, or say how many steps more."
    if not model_queries.is_offered(model.base_model):
        problems["model"] = f"The model {model.base_model!r}, which this one is made from, is not offered any more."
    if problems:
        raise InvalidParams(problems)


def _refuse_texts(model: CustomModel) -> None:
    captions = model.pictures.values_list("caption", flat=True)
    policy.refuse(model.name, model.description, *captions)
