"""The commands about credits: what they print, what they move, and that running them again moves nothing."""

from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import services as people
from accounts.models import Activity
from credits import plans
from credits.audit import find_drift
from credits.models import Entry, Grant, Notice, Pass, Plan, Subscription
from credits.queries import balance_of
from tenkaigen.celery import app
from tenkaigen.errors import Busy
from tests.factories import give, make_user, team_of

pytestmark = pytest.mark.django_db
ANNA = "anna@example.com"


def run(name: str, *args: str) -> list[str]:
    out = StringIO()
    call_command(name, *args, stdout=out)
    return out.getvalue().splitlines()


def available(team) -> int:
    assert find_drift() == []
    return balance_of(team).available_centi


@pytest.fixture
def team():
    return team_of(make_user(email=ANNA, credits=100))


# --- adjust_credits -------------------------------------------------------------------------------------------------
def test_a_reference_adjusts_once_up_and_down(team):
    for _ in range(2):
        assert run("adjust_credits", ANNA, "12.50", "--reference", "t-1", "--reason", "a gift")[0].endswith("available")
        assert run("adjust_credits", "Anna@Example.com", "-30", "--reference", "t-2", "--reason", "a mistake") == [
            f"{team.name}: 82.50 credits available"
        ]
    assert available(team) == 8250
    entry = Entry.objects.get(kind="revoke")
    assert (entry.actor, entry.reason) == ("command:adjust_credits", "a mistake")
    assert Activity.objects.filter(team=team, verb="credits.adjusted").count() == 2


def test_a_team_is_found_by_its_id_too(team):
    assert run("adjust_credits", str(team.pk), "-1", "--reference", "t-1", "--reason", "x") == [
        f"{team.name}: 99 credits available"
    ]


@pytest.mark.parametrize("amount", ["0", "-100.01", "x", "1.005", "nan", "-1e20", ""])
def test_what_cannot_be_adjusted_is_refused_and_moves_nothing(team, amount):
    with pytest.raises(CommandError):
        run("adjust_credits", ANNA, "--reference", "t-1", "--reason", "x", "--", amount)
    assert available(team) == 10_000 and Entry.objects.count() == 1


def test_a_reference_that_stands_for_something_else_is_refused(team):
    run("adjust_credits", ANNA, "-1", "--reference", "t-1", "--reason", "x")
    for amount in ("-2", "1"):
        with pytest.raises(CommandError, match="t-1"):
            run("adjust_credits", ANNA, amount, "--reference", "t-1", "--reason", "x")
    assert available(team) == 9900


@pytest.mark.parametrize("command", ["adjust_credits", "grant_credits"])
def test_nobody_and_long_words_are_refused(team, command):
    facts = ("--reference", "r", "--reason", "x")
    for who in ("nobody@example.com", str(uuid4())):
        with pytest.raises(CommandError, match=f"no (user|team) {who}"):
            run(command, who, "5", *facts)
    for option in ("reference", "reason"):
        for text in ("", "x" * 101):
            with pytest.raises(CommandError, match=f"--{option}"):
                run(command, ANNA, "5", *facts, f"--{option}", text)
    assert available(team) == 10_000


# --- issue_pass -----------------------------------------------------------------------------------------------------
def test_a_reference_issues_one_pass(team):
    for _ in range(2):
        (line,) = run("issue_pass", ANNA, "flash-lite", "--reference", "t-1")
        assert line == f"{team.name}: Flash Lite pass {Pass.objects.get().pk}, 3 images in 60 minutes"
    for who, product in ((ANNA, "flash"), (team_of(make_user()).pk, "flash-lite"), (ANNA, "gold")):
        with pytest.raises(CommandError):
            run("issue_pass", str(who), product, "--reference", "t-1")
    assert Pass.objects.get().issued_by == "command:issue_pass"


# --- set_plan and replenish_credits ---------------------------------------------------------------------------------
def test_a_plan_is_set_once(team):
    for _ in range(2):
        assert run("set_plan", ANNA, "basic") == [f"{team.name}: Basic plan", f"{team.name}: 600 credits available"]
    assert run("set_plan", ANNA, "free")[0] == f"{team.name}: Free plan"
    with pytest.raises(CommandError, match="no plan gold; there are: free, basic, pro, enterprise"):
        run("set_plan", ANNA, "gold")
    Subscription.objects.update(external_ref="sub_1")
    with pytest.raises(CommandError, match="payment provider"):
        run("set_plan", ANNA, "pro")
    assert available(team) == 60_000


def test_months_are_granted_once(team, monkeypatch):
    Subscription.objects.create(
        team=team, plan=Plan.objects.get(slug="basic"), anchor_at=timezone.now() - timedelta(days=1)
    )

    def busy(**facts):
        raise Busy("later")

    with monkeypatch.context() as patch:
        patch.setattr(plans.ledger, "grant", busy)
        with pytest.raises(SystemExit) as stopped:
            run("replenish_credits")
    assert stopped.value.code == 1 and available(team) == 10_000
    assert run("replenish_credits") == ["granted: 1", "busy, to be granted by the next run: 0"]
    assert run("replenish_credits")[0] == "granted: 0"
    assert available(team) == 60_000


# --- expire_credits -------------------------------------------------------------------------------------------------
def test_ended_credits_are_written_off_once_however_many_teams(monkeypatch):
    monkeypatch.setattr("credits.services.EXPIRY_TEAMS_MAX", 2)
    monkeypatch.setattr("credits.ledger.grants.EXPIRE_MAX", 2)
    for number in range(5):
        team = team_of(make_user())
        for _ in range(1 + 4 * (number == 3)):  # one of them has more grants than are written off at a time
            give(team, 500)
    past = timezone.now() - timedelta(seconds=1)
    Grant.objects.update(effective_at=past - timedelta(days=1), expires_at=past)
    assert run("expire_credits") == ["teams with ended credits: 5"]
    assert run("expire_credits") == ["teams with ended credits: 0"]
    assert set(Grant.objects.values_list("available_centi", "expired_centi")) == {(0, 500)}
    assert find_drift() == []


# --- The schedule ---------------------------------------------------------------------------------------------------
def test_every_task_of_the_schedule_is_there_and_does_its_work_once(team, settings):
    app.loader.import_default_modules()
    ours = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values() if entry["task"].startswith("credits.")}
    assert {"credits.replenish", "credits.expire", "credits.notify", "credits.audit"} <= ours <= app.tasks.keys()
    Subscription.objects.create(
        team=team, plan=Plan.objects.get(slug="basic"), anchor_at=timezone.now() - timedelta(days=29)
    )
    ended = give(team, 500)
    past = timezone.now() - timedelta(seconds=1)
    Grant.objects.filter(pk=ended.pk).update(effective_at=past - timedelta(days=1), expires_at=past)
    for _ in range(2):
        for name in ("credits.replenish", "credits.expire", "credits.notify", "credits.audit"):
            app.tasks[name].apply(throw=True)
    assert available(team) == 60_000
    kinds = Entry.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["grant", "grant", "grant", "expire"]
    assert Notice.objects.filter(kind="expiry").count() == 1  # the month of the plan has a day or two left


# --- The welcome bonus ----------------------------------------------------------------------------------------------
def test_a_person_is_welcomed_with_credits_once_however_many_teams_they_open():
    user = people.create_account("new@example.com", "a long password")
    first = team_of(user)
    second = people.create_team(user=user, name="Second")
    assert (available(first), available(second)) == (10_000, 0)
    for team in (first, second):
        people.close_team(team=team, actor=user)
    third = people.open_team(user)
    assert third not in (first, second) and available(third) == 0
