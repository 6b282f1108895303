"""The activity log. Every app tells it what was done; nothing else writes or removes an `Activity`."""

import re
from datetime import timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import Activity, ApiKey, Team, User
from tenkaigen.paging import Page, page

PAGE_ROWS = 30
CLEANUP_BATCH = 5_000
SHAPE = re.compile(r"[a-z]+\.[a-z_]+")
SYSTEM = "system"
# What may stand before the dot of a verb, as people read it.
TOPICS = {
    "job": "Pictures",
    "model": "Models",
    "credits": "Credits",
    "pass": "Passes",
    "billing": "Billing",
    "key": "API keys",
    "member": "Members",
    "team": "Team",
    "account": "Accounts",
}
# Past tense, to stand between an actor and a target. A verb that is missing here is shown with its own words.
WORDS = {
    "account.created": "signed up",
    "account.closed": "deleted the account",
    "account.confirmed": "confirmed the email address",
    "account.exported": "took along everything there is",
    "account.mfa_off": "switched two-step sign-in off",
    "account.mfa_on": "switched two-step sign-in on",
    "account.restored": "restored the account",
    "billing.bought": "bought",
    "billing.dispute_lost": "lost the dispute",
    "billing.dispute_open": "heard of the dispute",
    "billing.dispute_won": "won the dispute",
    "billing.plan_ended": "ended the plan",
    "billing.plan_followed": "changed the plan to",
    "billing.plan_set": "changed the plan to",
    "billing.refund_failed": "could not refund the payment",
    "billing.refunded": "refunded the payment",
    "credits.adjusted": "adjusted the credits",
    "credits.granted": "added credits",
    "credits.frozen": "froze the credits",
    "credits.unfrozen": "unfroze the credits",
    "job.submitted": "ordered pictures",
    "job.canceled": "canceled a job",
    "job.retried": "tried a job again",
    "job.image_deleted": "deleted a picture",
    "key.created": "made the key",
    "key.revoked": "revoked the key",
    "member.invited": "invited",
    "member.invited_again": "sent the invitation again to",
    "member.joined": "joined the team",
    "member.left": "left the team",
    "member.removed": "removed",
    "member.role_changed": "changed the role of",
    "member.uninvited": "took back the invitation of",
    "model.captions_changed": "described pictures of the model",
    "model.changed": "changed the model",
    "model.deleted": "deleted the model",
    "model.picture_removed": "took a picture away from the model",
    "model.pictures_added": "added pictures to the model",
    "model.promoted": "chose a version of the model",
    "model.refined": "ordered a refinement of the model",
    "model.trained": "ordered a training of the model",
    "model.version_deleted": "deleted a version of the model",
    "pass.activated": "started the pass",
    "pass.issued": "issued the pass",
    "team.created": "opened the team",
    "team.closed": "deleted the team",
    "team.renamed": "renamed the team to",
    "team.restored": "restored the team",
    "team.transferred": "handed the team over to",
}


def record(*, team: Team, actor: User | ApiKey | str, verb: str, target: str = "", **details: object) -> Activity:
    """Note an act, with one INSERT in the caller's transaction: an act that is undone leaves no line.

    `verb` is stable and dotted, such as `job.submitted`; what stands before the dot is one of `TOPICS`. `actor` in
    words is for what is not a person of the team: `staff:ana@example.com`, `system`. `details` take JSON values.
    """
    topic = verb.partition(".")[0]
    assert SHAPE.fullmatch(verb) and topic in TOPICS, verb
    return Activity.objects.create(
        team=team,
        actor_user=_person(actor),
        actor=_label(actor)[:120],
        topic=topic,
        verb=verb,
        target=target[:200],
        details=details,
    )


def words_of(verb: str) -> str:
    return WORDS.get(verb) or verb.partition(".")[2].replace("_", " ")


def page_of(team: Team, cursor: str | None, *, topic: str = "", size: int = PAGE_ROWS) -> Page[Activity]:
    """What was done in a team, newest first. Raises: BadCursor."""
    rows = Activity.objects.filter(team=team)
    return page(rows.filter(topic=topic) if topic else rows, cursor, size)


def expired() -> QuerySet[Activity]:
    """What is older than `ACTIVITY_DAYS`."""
    return Activity.objects.filter(created_at__lt=timezone.now() - timedelta(days=settings.ACTIVITY_DAYS))


def delete_expired() -> int:
    """Delete what is too old, a batch at a time. How many lines went."""
    deleted = 0
    while batch := list(expired().values_list("pk", flat=True)[:CLEANUP_BATCH]):
        deleted += Activity.objects.filter(pk__in=batch).delete()[0]
    return deleted


def _person(actor: User | ApiKey | str) -> User | None:
    if isinstance(actor, ApiKey):
        return actor.user
    return actor if isinstance(actor, User) else None


def _label(actor: User | ApiKey | str) -> str:
    if isinstance(actor, ApiKey):
        return f"key {actor.name}"
    return actor if isinstance(actor, str) else actor.email
