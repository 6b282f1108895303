"""Notices: once per threshold and grant, mailed once, put away when no longer true, found without a scan."""

from datetime import timedelta

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Team
from credits import notices, services
from credits.models import Grant, Notice
from credits.queries import header_of
from tests.factories import give, make_user, team_of
from tests.integration.test_ledger_bad_days import reserve, settle

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def forget() -> None:
    cache.clear()


@pytest.fixture
def team():
    return team_of(make_user())


def spend(team, images: int, reference: str = "job-1") -> None:
    """6 credits an image."""
    reserve(team, images, reference)
    settle(team, images, reference)


def told(team) -> list[tuple[str, str]]:
    return list(Notice.objects.filter(wallet__team=team).order_by("pk").values_list("kind", "text"))


def unseen(team) -> list[str]:
    """Newest first, as every page shows them."""
    return [notice["text"] for notice in header_of(team).notices]


# --- Low ------------------------------------------------------------------------------------------------------------
def test_a_team_hears_once_that_it_runs_low(team):
    give(team, 6000)
    assert notices.notify_all() == notices.Told(0, 0, 0)
    spend(team, 2)
    assert notices.notify_all() == notices.Told(low=1, expiry=0, mailed=1)
    assert notices.notify_all() == notices.Told(0, 0, 0)
    spend(team, 1, "job-2")
    notices.notify_all()
    assert told(team) == [("low", "Your credits run low: 48 left.")]


def test_the_next_threshold_and_a_new_top_up_are_told_anew(team):
    give(team, 6000)
    spend(team, 2)
    notices.notify_all()
    spend(team, 7, "job-2")
    notices.notify_all()
    give(team, 6000)
    notices.notify_all()
    spend(team, 9, "job-3")
    notices.notify_all()
    assert [text for _, text in told(team)] == [
        "Your credits run low: 48 left.",
        "Your credits run low: 6 left.",
        "Your credits run low: 12 left.",
    ]


def test_whoever_falls_through_two_thresholds_hears_of_the_lower_one(team):
    give(team, 6000)
    spend(team, 10)
    notices.notify_all()
    assert told(team) == [("low", "You have no credits left.")]


def test_a_notice_goes_away_with_its_reason(team):
    give(team, 6000)
    spend(team, 2)
    notices.notify_all()
    assert unseen(team) == ["Your credits run low: 48 left."]
    give(team, 6000)
    notices.notify_all()
    assert unseen(team) == []


def test_who_never_spent_is_left_alone(team):
    give(team, 500)
    assert notices.notify_all().low == 0 and told(team) == []


def test_credits_that_ended_count_as_gone(team):
    give(team, 600)
    spend(team, 1)
    grant = give(team, 9000)
    notices.notify_all()
    assert told(team) == []
    past = timezone.now() - timedelta(seconds=1)
    Grant.objects.filter(pk=grant.pk).update(effective_at=past - timedelta(days=1), expires_at=past)
    services.expire_all()
    notices.notify_all()
    assert told(team) == [("low", "You have no credits left.")]


def test_images_of_a_pass_are_no_credits(team):
    give(team, 600)
    spend(team, 1)
    give(team, 90_000, source="pass", covers_px=512, expires_at=timezone.now() + timedelta(hours=1))
    notices.notify_all()
    assert told(team) == [("low", "You have no credits left.")]


def test_a_closed_team_hears_nothing(team):
    give(team, 600, expires_at=timezone.now() + timedelta(days=1))
    spend(team, 1)
    Team.objects.filter(pk=team.pk).update(closed_at=Now())
    assert notices.notify_all() == notices.Told(0, 0, 0) and mail.outbox == []


def test_a_run_looks_at_what_moved_since_the_run_before_the_last(team):
    give(team, 6000)
    spend(team, 2)
    notices.notify_all()
    still = team_of(make_user())
    give(still, 600)
    notices.notify_all()
    notices.notify_all()
    notices.notify_all()
    with CaptureQueriesContext(connection) as queries:
        notices.notify_all()
    assert not [query for query in queries if "credits_wallet" in query["sql"] and "SUM" in query["sql"]]
    spend(still, 1, "job-2")
    assert notices.notify_all().low == 1


def test_many_teams_cost_as_many_statements_as_one():
    def statements(number: int) -> int:
        cache.clear()
        for place in range(number):
            team = team_of(make_user())
            give(team, 600)
            spend(team, 1, f"{team.pk}-{place}")
        with CaptureQueriesContext(connection) as queries:
            assert notices._notify_low() == number
        return len(queries)

    assert statements(1) == statements(6)


# --- Expiry ---------------------------------------------------------------------------------------------------------
def ending(team, days: float, **fields) -> Grant:
    return give(team, 1000, expires_at=timezone.now() + timedelta(days=days), **fields)


def test_a_team_hears_once_of_each_grant_that_ends_within_three_days(team):
    soon, _ = ending(team, 2.9), ending(team, 3.1)
    assert notices.notify_all().expiry == 1
    assert notices.notify_all().expiry == 0
    assert told(team) == [("expiry", f"10 credits end on {soon.expires_at:%d %B at %H:%M} UTC.")]
    ending(team, 1)
    assert notices.notify_all().expiry == 1


def test_nothing_is_said_of_passes_of_what_is_spent_and_of_what_has_ended(team):
    give(team, 100, source="pass", covers_px=512, expires_at=timezone.now() + timedelta(hours=1))
    give(team, 600, expires_at=timezone.now() + timedelta(days=1))
    hold = reserve(team, 2)
    assert (hold.pass_images, hold.amount_centi) == (1, 600)
    gone = ending(team, 1)
    past = timezone.now() - timedelta(seconds=1)
    Grant.objects.filter(pk=gone.pk).update(effective_at=past - timedelta(days=1), expires_at=past)
    assert notices.notify_all().expiry == 0


def test_a_notice_of_a_grant_that_has_ended_is_put_away(team):
    grant = ending(team, 1)
    notices.notify_all()
    assert len(unseen(team)) == 1
    past = timezone.now() - timedelta(seconds=1)
    Grant.objects.filter(pk=grant.pk).update(effective_at=past - timedelta(days=1), expires_at=past)
    notices.notify_all()
    assert unseen(team) == []


def test_finding_what_ends_takes_no_look_at_other_grants(team):
    with CaptureQueriesContext(connection) as queries:
        notices._notify_expiry()
    (sql,) = [query["sql"] for query in queries if "NOT (EXISTS" in query["sql"] or "NOT EXISTS" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # a handful of rows is read quicker without an index
        cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "grant_expiry" in plan and "Seq Scan" not in plan


# --- Mail and dismissal ---------------------------------------------------------------------------------------------
def test_the_mail_goes_to_the_teams_address_and_says_what_to_do(team, settings):
    settings.SITE_URL = "https://pictures.example.com"
    Team.objects.filter(pk=team.pk).update(email="team@example.com", name='The "Foxes" & Co')
    ending(team, 1)
    notices.notify_all()
    (sent,) = mail.outbox
    assert sent.to == ["team@example.com"] and sent.subject == f"Credits on {settings.SITE_NAME} end soon"
    assert "10 credits end on" in sent.body and 'The "Foxes" & Co' in sent.body
    assert "https://pictures.example.com/credits" in sent.body


def test_a_mail_that_fails_is_sent_by_the_next_run(team, monkeypatch):
    def refuse(self):
        raise ConnectionRefusedError

    ending(team, 1)
    with monkeypatch.context() as patch:
        patch.setattr(notices.EmailMessage, "send", refuse)
        assert notices.notify_all() == notices.Told(low=0, expiry=1, mailed=0)
    assert mail.outbox == []
    assert notices.notify_all() == notices.Told(low=0, expiry=0, mailed=1)
    assert len(mail.outbox) == 1


def test_a_mail_whose_run_was_cut_off_is_sent_again_and_not_for_ever(team, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*args):
        raise Killed

    ending(team, 1)
    with monkeypatch.context() as patch:
        patch.setattr(EmailMessage, "send", die)
        with pytest.raises(Killed):
            notices.notify_all()
        assert notices.mail_waiting() == 0  # its claim still holds
        for _ in range(2):
            Notice.objects.update(mail_due_at=timezone.now())
            with pytest.raises(Killed):
                notices.mail_waiting()
    Notice.objects.update(mail_due_at=timezone.now())
    assert notices.mail_waiting() == 0 and mail.outbox == []
    Notice.objects.update(mail_attempts=2)
    assert notices.mail_waiting() == 1 and Notice.objects.get().mailed_at is not None
    assert notices.mail_waiting() == 0 and len(mail.outbox) == 1


def test_a_notice_is_put_away_once_and_by_its_team_only(team):
    ending(team, 1)
    notices.notify_all()
    notice = Notice.objects.get()
    other = team_of(make_user())
    assert not notices.dismiss(team=other, notice_id=notice.pk) and len(unseen(team)) == 1
    assert notices.dismiss(team=team, notice_id=notice.pk)
    assert not notices.dismiss(team=team, notice_id=notice.pk)
    assert not notices.dismiss(team=team, notice_id=10**9)
    assert unseen(team) == [] and Notice.objects.count() == 1
