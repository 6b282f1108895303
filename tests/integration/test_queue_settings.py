"""What `check` says of settings with which the queue could not move, and of servers that would lose something."""

import pytest
from django.core.checks import run_checks
from django.db import connection

from tenkaigen import checks


def ids(**options) -> set[str]:
    return {message.id for message in run_checks(**options) if message.id.startswith("tenkaigen.")}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"HEARTBEAT_SECONDS": 16}, "E003"),
        ({"JOB_SECONDS_MAX": 45}, "E004"),
        ({"HOLD_SECONDS": {"image": 2699, "creation": 21_600, "refinement": 21_600}}, "E005"),
        ({"SWEEP_SECONDS": 45}, "E010"),
        ({"SWEEP_SECONDS": 0}, "E010"),
        ({"CELERY_BROKER_TRANSPORT_OPTIONS": {"visibility_timeout": 1799}}, "E011"),
        ({"DRAIN_SECONDS_MAX": 900}, "E012"),
        ({"JOB_ATTEMPTS_MAX": 0}, "E013"),
        ({"QUEUE_AGEING_SECONDS": 0}, "E014"),
        ({"QUEUE_TURN_SECONDS": -1}, "E015"),
        ({"QUEUE_LENGTH_MAX": 0}, "E016"),
        ({"TRAININGS_PER_TEAM_MAX": 0}, "E017"),
        ({"RETRY_BASE_SECONDS": 0}, "E018"),
        ({"RETRY_BASE_SECONDS": 301}, "E018"),
        ({"IDLE_POLL_SECONDS": 46}, "E019"),
        ({"JOB_QUEUES": {"image": "gpu"}}, "E020"),
        ({"HANG_SECONDS": 300}, "E021"),
        ({"TRAINING_HANG_SECONDS": 300}, "E022"),
        ({"TRAINING_SECONDS_MAX": 7201}, "E023"),
        ({"TRAINING_CHECKPOINT_STEPS": 0}, "E024"),
        ({"MODELS_PREFIX": "ai-generated/models"}, "E025"),
        ({"JOB_QUEUES": dict.fromkeys(("image", "creation", "refinement"), "gpu")}, "E026"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_together_are_refused(settings, changes, found):
    assert ids(tags=["compatibility"]) == set()
    for name, value in changes.items():
        setattr(settings, name, value)
    assert ids(tags=["compatibility"]) == {f"tenkaigen.{found}"}


@pytest.mark.parametrize(
    ("policy", "found"), [("noeviction", set()), ("allkeys-lru", {"tenkaigen.W001"}), (None, set())]
)
def test_a_redis_that_evicts_is_warned_about(monkeypatch, policy, found):
    monkeypatch.setattr(checks, "eviction_policy", lambda: policy)
    assert ids(include_deployment_checks=True, tags=["servers"]) == found


def test_the_policy_is_redis_own_word():
    assert checks.eviction_policy() == "noeviction"


def test_a_redis_that_does_not_answer_is_not_accused(settings):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    assert checks.eviction_policy() is None


@pytest.mark.django_db
def test_the_limits_of_the_database_reach_the_server():
    options = {"include_deployment_checks": True, "databases": ["default"], "tags": ["database"]}
    assert "tenkaigen.W002" not in ids(**options)
    with connection.cursor() as cursor:
        cursor.execute("SET idle_in_transaction_session_timeout = 0")
        assert "tenkaigen.W002" in ids(**options)
        cursor.execute("RESET idle_in_transaction_session_timeout")
