"""Plain functions that make what a test needs. Every default is the dullest valid value."""

import hashlib
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import transaction

from accounts import services as account_services
from accounts.models import Membership, Team, User
from credits import ledger
from credits.models import Grant, Plan, Subscription
from credits.plans import limits_of
from credits.pricing import Quote
from generation import services, storage, transitions
from generation.models import CustomModel, Job, ModelVersion, ReferenceModel, TeamSlot, TrainingImage
from generation.params import Params, make

_numbers = count(1)


def make_user(
    *, credits: int = 0, email: str = "", password: str | None = "correct horse battery", **fields: Any
) -> User:
    """A person with a team of their own and exactly `credits` whole credits: no welcome bonus."""
    from django.test import override_settings

    with override_settings(WELCOME_BONUS=False):
        user = account_services.create_account(email or f"person{next(_numbers)}@example.com", password, **fields)
    if credits:
        give(team_of(user), credits * 100)
    return user


def make_member(team: Team, role: str = Membership.Role.MEMBER, **fields: Any) -> User:
    """A person whose only team is this one."""
    user = User.objects.create_user(f"person{next(_numbers)}@example.com", "correct horse battery", **fields)
    Membership.objects.create(user=user, team=team, role=role)
    return user


def team_of(user: User) -> Team:
    return Team.objects.get(memberships__user=user)


@transaction.atomic
def give(team: Team, amount_centi: int, *, source: str = Grant.Source.BONUS, **fields: Any) -> Grant:
    """Credits without a story. With `covers_px` they are images of a pass, 100 each."""
    return ledger.grant(team_id=team.pk, amount_centi=amount_centi, source=source, source_ref=str(uuid4()), **fields)


def make_params(**fields: Any) -> Params:
    """A valid request of the starter model: one picture, two steps."""
    return make({"prompt": "a red fox by a lake", "num_inference_steps": 2, "seed": 7, **fields})


def make_job(user: User, *, request_key: str = "", **fields: Any) -> Job:
    """A queued job, paid for. The catalogue must be there: use the `catalogue` fixture."""
    return services.submit_job(
        team=team_of(user), user=user, params=make_params(**fields), request_key=request_key or uuid4().hex
    )


@transaction.atomic
def make_training_job(
    user: User, *, parent: ModelVersion | None = None, pictures: int = 4, steps: int = 20, batch_size: int = 2
) -> Job:
    """A queued training with its model, version and stored pictures, or of the next version after `parent`."""
    team, unit_centi = team_of(user), 700
    model = parent.model if parent else _make_model(user, pictures)
    number = model.versions.count() + 1
    kind = Job.Kind.REFINEMENT if parent else Job.Kind.CREATION
    facts = {"iteration": number - 1} if parent else {"images": pictures}
    quote = Quote(unit_centi=unit_centi, count=1, kind=kind, facts={**facts, "complexity": "1"})
    job = Job(
        team=team, user=user, kind=kind, request_key=uuid4().hex, request_fingerprint="x", prompt=model.name,
        expanded_prompt="", model="starter", width=256, height=256, quality="standard", count=1, seed=1,
        num_inference_steps=steps, guidance_scale=1, quote=quote.as_dict(),
    )  # fmt: skip
    transitions.submit(job, quote, limits_of(team.pk))
    ModelVersion.objects.create(
        model=model, number=number, parent=parent, iteration=number - 1, job=job, images_count=pictures,
        settings={
            "steps": steps, "rank": 4, "learning_rate": 1e-3, "resolution": 256, "batch_size": batch_size, "seed": 5,
            "train_text_encoder": False,
            "samples": [{"prompt": "zuko7", "seed": 11}, {"prompt": "a zuko7", "seed": 23}],
        },
    )  # fmt: skip
    return job


def _make_model(user: User, pictures: int) -> CustomModel:
    reference = ReferenceModel.objects.first() or ReferenceModel.objects.create(
        slug="muse", name="Muse", category="beauty", description="A look.", complexity=1, recipe="{prompt}",
        example_prompt="a face",
    )  # fmt: skip
    model = CustomModel.objects.create(
        team=team_of(user), user=user, name="Zuko", reference=reference, trigger_word=f"zuko{next(_numbers)}",
        base_model="starter", has_consent=True, submitted_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    for position in range(pictures):
        folder = f"{settings.MODELS_PREFIX}/{model.team_id}/{model.pk}/images"
        content, name = f"picture {position} of {model.pk}".encode(), uuid4().hex
        row = TrainingImage(
            model=model, team_id=model.team_id, position=position, key=f"{folder}/{name}.png",
            thumbnail_key=f"{folder}/{name}.thumbnail.webp", sha256=hashlib.sha256(content).hexdigest(),
            likeness=position, width=256, height=256, size_bytes=len(content), caption="a cat" if position else "",
        )  # fmt: skip
        storage.put(row.key, content)
        storage.put(row.thumbnail_key, content)
        row.save()
    return model


def put_first(job: Job) -> None:
    """Make a queued job the next one that is claimed, whatever its plan allows."""
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    Job.objects.filter(pk=job.pk).update(run_after=long_ago)
    TeamSlot.objects.filter(team_id=job.team_id, kind=job.kind).update(due_at=long_ago, jobs_max=100)


def allow(user: User, jobs: int, *, queue_priority: int = 0, queue_cap: int = 1000) -> None:
    """Put a person's team on a plan of its own that runs so many jobs at a time."""
    plan = Plan.objects.create(
        slug=f"plan-{next(_numbers)}", name="Test", concurrent_jobs=jobs, queue_priority=queue_priority,
        queue_cap=queue_cap, requests_per_hour=10_000, seconds_between=0,
    )  # fmt: skip
    Subscription.objects.create(team=team_of(user), plan=plan)
