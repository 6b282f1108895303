"""Refuses, at start, settings that would be dangerous or could not work."""

from collections.abc import Sequence
from typing import Any

import redis
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, Warning, register, run_checks
from django.db import connection

SECRET_KEY_LENGTH_MIN = 50  # below that, Django warns, too
NO_EVICTION = "noeviction"


@register(Tags.security)
def production_is_safe(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Outside `make run`: no DEBUG, no short or well-known secret."""
    if settings.EMBEDDED:
        return []
    errors: list[CheckMessage] = []
    if settings.DEBUG:
        errors.append(Error("DEBUG is on. Unset it: it shows settings and code to strangers.", id="tenkaigen.E001"))
    if len(settings.SECRET_KEY) < SECRET_KEY_LENGTH_MIN or "insecure" in settings.SECRET_KEY:
        hint = "Set SECRET_KEY to 50 random characters: python -c 'import secrets; print(secrets.token_urlsafe(50))'"
        errors.append(Error("SECRET_KEY is too short or a default.", hint=hint, id="tenkaigen.E002"))
    if settings.FAILPOINTS:
        errors.append(Error("FAILPOINTS is set. Unset it: it breaks the product on purpose.", id="tenkaigen.E008"))
    return errors


@register(Tags.compatibility)
def times_fit_together(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Times that depend on one another: a lease must outlive several heartbeats, and so on."""
    s = settings
    visible_seconds = s.CELERY_BROKER_TRANSPORT_OPTIONS.get("visibility_timeout", 3600)  # as kombu has it
    rules = (
        ("E003", s.LEASE_SECONDS >= 3 * s.HEARTBEAT_SECONDS, "LEASE_SECONDS must be at least 3 x HEARTBEAT_SECONDS."),
        ("E004", s.JOB_SECONDS_MAX > s.LEASE_SECONDS, "JOB_SECONDS_MAX must be longer than LEASE_SECONDS."),
        (
            "E005",
            min(s.HOLD_SECONDS.values()) >= s.JOB_SECONDS_MAX * s.JOB_ATTEMPTS_MAX,
            "HOLD_SECONDS must cover JOB_ATTEMPTS_MAX runs of JOB_SECONDS_MAX.",
        ),
        ("E006", s.SIGNED_URL_SECONDS <= 300, "SIGNED_URL_SECONDS must be at most 300."),
        ("E010", 0 < s.SWEEP_SECONDS < s.LEASE_SECONDS, "SWEEP_SECONDS must be shorter than LEASE_SECONDS."),
        (
            "E011",
            visible_seconds >= 2 * s.JOB_SECONDS_MAX,
            "The broker's visibility_timeout must be at least 2 x JOB_SECONDS_MAX.",
        ),
        (
            "E012",
            visible_seconds > s.DRAIN_SECONDS_MAX + s.JOB_SECONDS_MAX,
            "The broker's visibility_timeout must be longer than a drain: DRAIN_SECONDS_MAX + JOB_SECONDS_MAX.",
        ),
    )
    return [Error(text, id=f"tenkaigen.{number}") for number, holds, text in rules if not holds]


@register(Tags.compatibility)
def trainings_can_end(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """A training runs for hours: what watches over pictures must not end it, and its files must outlive theirs."""
    s = settings
    holds_seconds = min((seconds for kind, seconds in s.HOLD_SECONDS.items() if kind != "image"), default=0)
    rules = (
        ("E021", s.HANG_SECONDS < s.STALL_SECONDS, "HANG_SECONDS must be below STALL_SECONDS."),
        (
            "E022",
            s.TRAINING_HANG_SECONDS < s.STALL_SECONDS,
            "TRAINING_HANG_SECONDS must be below STALL_SECONDS.",
        ),
        (
            "E023",
            holds_seconds >= s.TRAINING_SECONDS_MAX * s.JOB_ATTEMPTS_MAX,
            "HOLD_SECONDS_TRAINING must cover JOB_ATTEMPTS_MAX runs of TRAINING_SECONDS_MAX.",
        ),
        ("E024", s.TRAINING_CHECKPOINT_STEPS >= 1, "TRAINING_CHECKPOINT_STEPS must be at least 1."),
        (
            "E025",
            not f"{s.MODELS_PREFIX}/".startswith(f"{s.STORAGE_PREFIX}/")
            and not f"{s.STORAGE_PREFIX}/".startswith(f"{s.MODELS_PREFIX}/"),
            "MODELS_PREFIX and B2_S3_PREFIX must not contain one another: what is under the second expires.",
        ),
        (
            "E026",
            s.JOB_QUEUES["image"] not in {queue for kind, queue in s.JOB_QUEUES.items() if kind != "image"},
            "Trainings need a queue of their own in JOB_QUEUES.",
        ),
    )
    return [Error(text, id=f"tenkaigen.{number}") for number, holds, text in rules if not holds]


@register(Tags.compatibility)
def queue_can_move(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Limits of the queue with which a job could wait for ever, or come back at once for ever."""
    s = settings
    kinds = set(s.JOB_QUEUES)
    rules = (
        ("E013", s.JOB_ATTEMPTS_MAX >= 1, "JOB_ATTEMPTS_MAX must be at least 1."),
        ("E014", s.QUEUE_AGEING_SECONDS > 0, "QUEUE_AGEING_SECONDS must be more than 0: without ageing jobs starve."),
        ("E015", s.QUEUE_TURN_SECONDS >= 0, "QUEUE_TURN_SECONDS must not be negative."),
        ("E016", s.QUEUE_LENGTH_MAX >= 1, "QUEUE_LENGTH_MAX must be at least 1."),
        ("E017", s.TRAININGS_PER_TEAM_MAX >= 1, "TRAININGS_PER_TEAM_MAX must be at least 1."),
        (
            "E018",
            0 < s.RETRY_BASE_SECONDS <= s.RETRY_SECONDS_MAX,
            "RETRY_BASE_SECONDS must be more than 0 and at most RETRY_SECONDS_MAX.",
        ),
        ("E019", 0 < s.IDLE_POLL_SECONDS <= s.LEASE_SECONDS, "IDLE_POLL_SECONDS must be at most LEASE_SECONDS."),
        ("E020", kinds == set(s.HOLD_SECONDS), "JOB_QUEUES and HOLD_SECONDS must name the same kinds of job."),
    )
    return [Error(text, id=f"tenkaigen.{number}") for number, holds, text in rules if not holds]


@register("servers", deploy=True)
def redis_keeps_what_it_is_given(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """A Redis that evicts loses bells and sessions without a word. Says nothing where it cannot be asked."""
    policy = eviction_policy()
    if policy in (None, NO_EVICTION):
        return []
    text = f"Redis evicts keys when it is full: maxmemory-policy is {policy}."
    return [Warning(text, hint="Set maxmemory-policy to noeviction.", id="tenkaigen.W001")]


def eviction_policy() -> str | None:
    """Redis's `maxmemory-policy`; None when it does not answer."""
    try:
        # INFO, not CONFIG: hosted servers forbid the second.
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as client:
            info: Any = client.info("memory")
            return str(info.get("maxmemory_policy", "")) or None
    except redis.RedisError:
        return None


@register(Tags.database, deploy=True)
def database_ends_what_hangs(
    app_configs: object, databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Whether the time limits of `DATABASES` reach the server: a pooler may drop them. For `check --database default`.

    A worker that hangs inside a transaction holds its rows, and every claim passes over them, until the server ends it.
    """
    if not databases:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM pg_settings WHERE setting = '0' AND name IN"
            " ('idle_in_transaction_session_timeout', 'lock_timeout', 'statement_timeout')"
        )
        missing = sorted(name for (name,) in cursor.fetchall())
    hint = "Set them for the role: ALTER ROLE ... SET, see docs/operations/queue.md."
    text = f"PostgreSQL has no limit for: {', '.join(missing)}."
    return [Warning(text, hint=hint, id="tenkaigen.W002")] if missing else []


def refuse_unsafe_start() -> None:
    """Stop the web process before it answers anybody: gunicorn, unlike `manage.py`, runs no checks.

    Raises:
        SystemExit: with every reason, one a line.
    """
    reasons = [f"{error.id}: {error.msg}" for error in run_checks() if error.is_serious()]
    if not settings.EMBEDDED and get_user_model().objects.filter(is_demo=True).exists():
        reasons.append("tenkaigen.E007: a demo account exists. Delete it before this server is public.")
    if reasons:
        raise SystemExit("TenkaiGen does not start:\n" + "\n".join(reasons))
