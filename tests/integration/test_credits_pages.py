"""The pages about credits: the figures, the chart, passes, the price before and after, receipts, plans."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.roles import Role
from credits import passes, plans, queries, services
from credits.charts import burn_down, round_up
from credits.models import Entry, Grant, Notice, Pass, PassProduct, Plan, Subscription
from credits.queries import Balance, Day, Summary, balance_of
from generation.services import cancel_job
from tests.factories import give, make_job, make_member, make_user, team_of
from tests.integration.pages import HTMX, client_of, complete, make_stranger

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
CREDITS, PANEL, PLANS, STUDIO = "/credits", "/credits/panel", "/plans", "/studio"


@pytest.fixture
def user():
    return make_user(credits=100)


@pytest.fixture
def team(user):
    return team_of(user)


@pytest.fixture
def client(user):
    return client_of(user)


def issue(team, slug: str = "flash", reference: str = "sale-1") -> Pass:
    return passes.issue(team=team, product=PassProduct.objects.get(slug=slug), reference=reference, actor="test")


def start(team, **fields) -> Pass:
    return passes.activate(team=team, pass_id=issue(team, **fields).pk, actor="test")


def text_of(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


# --- The five figures -----------------------------------------------------------------------------------------------
def test_the_five_figures_of_a_team_with_everything(user, team, django_assert_num_queries):
    pro = Plan.objects.get(slug="pro")
    plans.subscribe(team=team, plan=pro, actor="test")
    give(team, 5_000, source=Grant.Source.PURCHASE)
    moment = timezone.now()
    give(team, 700, effective_at=moment - timedelta(hours=2), expires_at=moment - timedelta(hours=1))  # not swept yet
    give(team, 900, effective_at=moment + timedelta(days=1))
    start(team)
    make_job(user, size="512x512", quality="hd")
    with django_assert_num_queries(2):
        seen = queries.summary_of(team)
    period = plans.period_of(Subscription.objects.get(), timezone.now())
    assert seen == Summary(
        available_credits=10_000 + 200_000 + 5_000 - 900,
        reserved_credits=900,
        bonus_credits=10_000,
        total_allocated=10_000 + 200_000 + 5_000,
        next_replenishment_at=period.ends_at,
    )
    listed = [grant for grant in queries.grants_of(team) if grant.unit == Grant.Unit.CREDIT]
    assert sum(grant.available_centi for grant in listed) == seen.available_credits


@pytest.mark.parametrize("change", [{"ends_at": 5}, {"ends_at": 0}, {"anchor_at": 5}])
def test_no_replenishment_is_promised_that_will_not_come(team, change):
    plans.subscribe(team=team, plan=Plan.objects.get(slug="pro"), actor="test")
    moment = timezone.now()
    shift = {name: moment + timedelta(days=days) for name, days in change.items()}
    Subscription.objects.update(**{"anchor_at": moment - timedelta(days=10)} | shift)
    assert queries.summary_of(team).next_replenishment_at is None


def test_a_plan_without_credits_and_a_team_without_a_wallet_have_nothing_to_come():
    assert queries.summary_of(team_of(make_user())) == Summary(0, 0, 0, 0, None)


def test_images_of_a_pass_are_no_credits(team):
    start(team)
    assert queries.balance_of(team) == Balance(10_000, 0)


# --- The page -------------------------------------------------------------------------------------------------------
def test_a_new_team_sees_what_to_do_instead_of_empty_tables():
    page = text_of(client_of(make_user()), CREDITS)
    assert "There is nothing to draw yet." in page and "You have no pass." in page
    assert "Nothing is left." in page and "While a job waits or is drawn, its price stands here." in page
    assert "Plan: Free" in page and '<svg class="chart__plot"' not in page


def test_the_page_shows_sources_holds_chart_passes_and_plan(client, user, team):
    plans.subscribe(team=team, plan=Plan.objects.get(slug="basic"), actor="test")
    start(team)
    issue(team, "pro", "sale-2")
    job = make_job(user, size="512x512", count=2, quality="hd")
    page = text_of(client, CREDITS)
    assert "<dt>To spend</dt><dd>582</dd>" in page and "<dt>Set aside for jobs</dt><dd>18</dd>" in page
    assert "<dt>Given this period</dt><dd>600</dd>" in page and "Plan: Basic" in page
    assert '<td class="table__name">Bonus</td><td class="number">100</td><td class="number">100</td>' in page
    assert '<td class="table__name">Flash pass</td><td class="number">8 pictures</td>' in page
    assert f'<a href="/jobs/{job.pk}">2 pictures, 512 × 512, HD</a> <span>18 credits</span>' in page
    assert 'data-seconds-left="3' in page and "<strong>8</strong> of 8 pictures left" in page
    assert 'aria-label="Start the Pro pass"' in page
    assert (page.count("<tr><td class"), page.count("<tr><td>")) == (3, 30)
    assert "at the end of each day" in page and "582 at most" in page


def test_the_page_takes_as_many_statements_for_any_history(client, user, team):
    def statements() -> int:
        with CaptureQueriesContext(connection) as seen:
            client.get(CREDITS)
        return len(seen)

    client.get(CREDITS)
    few = statements()
    for number in range(30):
        services.adjust(team=team, amount_centi=100, reference=f"r{number}", actor="test", reason="more")
        if number % 3 == 0:
            make_job(user)
        issue(team, reference=f"sale-{number}")
    assert statements() == few <= 11


def test_a_team_in_debt_is_told_what_to_do(client, user, team):
    wallet = team.wallet
    type(wallet).objects.filter(pk=wallet.pk).update(debt_centi=1_250)
    page = text_of(client, CREDITS)
    assert "12.50 credits are owed." in page and "The next credits that come pay this first" in page


def test_a_frozen_team_is_told_why(client, team):
    services.freeze(team=team, reason="A <b>dispute</b>", actor="test")
    for address in (CREDITS, STUDIO):
        page = text_of(client, address)
        assert "A &lt;b&gt;dispute&lt;/b&gt;" in page and "Contact support to go on." in page


def test_teams_see_nothing_of_each_other(user, team):
    make_job(user)
    issue(team)
    page = text_of(make_stranger(), CREDITS)
    assert "Flash pass" not in page and "/jobs/" not in page.replace('href="/jobs"', "")


# --- The chart ------------------------------------------------------------------------------------------------------
def backdate(team, days_ago: dict[int, float]) -> None:
    """Move entries to days ago, by number. The trigger that keeps entries as they are has to look away."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE credits_entry DISABLE TRIGGER USER")
        for seq, days in days_ago.items():
            moment = timezone.now() - timedelta(days=days)
            Entry.objects.filter(wallet__team=team, seq=seq).update(created_at=moment)
        cursor.execute("ALTER TABLE credits_entry ENABLE TRIGGER USER")


def test_each_day_shows_what_its_last_entry_left(team, django_assert_num_queries):
    for number in range(4):
        services.adjust(team=team, amount_centi=1_000, reference=f"r{number}", actor="test", reason="more")
    backdate(team, {1: 45, 2: 10, 3: 10, 4: 3})
    with django_assert_num_queries(1):
        days = queries.days_of(team)
    assert len(days) == 30 and days[-1].date == datetime.now(UTC).date()
    left = [day.available_centi for day in days]
    assert left == [10_000] * 19 + [12_000] * 7 + [13_000] * 3 + [14_000]


def test_days_before_the_first_entry_had_nothing(team):
    assert [day.available_centi for day in queries.days_of(team)] == [0] * 29 + [10_000]
    assert queries.days_of(team_of(make_user())) == []


def test_the_chart_is_a_line_in_its_box():
    start_of_month = datetime(2026, 11, 1, tzinfo=UTC).date()
    days = [Day(start_of_month + timedelta(days=n), amount) for n, amount in enumerate((0, 10_000, 2_500))]
    chart = burn_down(days)
    assert chart and (chart.line, chart.top_centi) == ("M0.0,100.0 L145.0,0.0 L290.0,75.0", 10_000)
    assert chart.area == "M0.0,100.0 L145.0,0.0 L290.0,75.0 L290,100 L0,100 Z"
    assert burn_down([]) is None and burn_down([Day(start_of_month, 0)] * 30) is None


@pytest.mark.parametrize(("amount", "top"), [(1, 100), (100, 100), (101, 200), (20_001, 30_000), (10**12, 10**12)])
def test_the_chart_ends_at_a_round_number(amount, top):
    assert round_up(amount) == top


def test_the_days_are_read_from_the_index_by_time(team):
    services.adjust(team=team, amount_centi=100, reference="r", actor="test", reason="more")
    with connection.cursor() as cursor:
        # Of a handful of rows anything is as cheap, a sort included: whether it can do without is the question.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {queries.dashboard.DAYS}", [30, team.pk])
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "entry_by_time" in plan and "Incremental Sort" not in plan


# --- Passes ---------------------------------------------------------------------------------------------------------
def test_a_pass_is_started_after_a_question(client, team):
    waiting = issue(team)
    address = f"/passes/{waiting.pk}/start"
    assert "Its 60 minutes begin now." in text_of(client, address)
    assert client.post(address).url == CREDITS
    waiting.refresh_from_db()
    first = waiting.grant
    page = client.get(CREDITS).content.decode()
    assert f"Your Flash pass runs until {first.expires_at:%H:%M} UTC." in page
    assert client.post(address).url == CREDITS  # again it changes nothing
    waiting.refresh_from_db()
    assert waiting.grant == first and Grant.objects.filter(source="pass").count() == 1


def test_with_scripts_the_start_answers_with_a_message_and_everything_asks_anew(client, team):
    answer = client.post(f"/passes/{issue(team).pk}/start", headers=HTMX)
    assert answer.status_code == 200 and answer["HX-Trigger"] == '{"balance-changed": {}}'
    assert 'hx-swap-oob="beforeend:#toasts"' in answer.content.decode()


@pytest.mark.parametrize("htmx", [True, False], ids=["htmx", "plain"])
def test_a_second_pass_waits_for_the_first(client, team, htmx):
    start(team)
    second = issue(team, reference="sale-2")
    answer = client.post(f"/passes/{second.pk}/start", headers=HTMX if htmx else None)
    assert answer.status_code == (409 if htmx else 302)
    said = answer.content.decode() if htmx else client.get(CREDITS).content.decode()
    assert "Your Flash pass still runs." in said
    second.refresh_from_db()
    assert second.grant is None


def test_the_panel_shows_the_pass_that_runs_and_how_long(client, user, team):
    start(team)
    make_job(user, count=2, size="512x512")
    panel = text_of(client, PANEL)
    assert "<strong>6</strong> of 8 pictures left" in panel and 'role="timer"' in panel
    assert "<strong>100</strong> credits" in panel


def test_a_viewer_sees_a_pass_but_no_button(team):
    viewer = make_member(team, Role.VIEWER)
    client = client_of(viewer)
    waiting = issue(team)
    page = text_of(client, CREDITS)
    assert "Flash pass" in page and "Start the Flash pass" not in page
    assert client.post(f"/passes/{waiting.pk}/start").status_code == 403


def test_a_used_up_pass_says_so(client, user, team):
    start(team, slug="flash-lite")
    make_job(user, count=3, size="512x512")
    assert "Used up" in text_of(client, PANEL)


# --- Receipts -------------------------------------------------------------------------------------------------------
def test_the_receipt_of_a_partly_delivered_job(client, user, team):
    start(team, slug="flash-lite")
    job = complete(make_job(user, count=4, size="512x512"), blocked=1)
    page = text_of(client, f"/jobs/{job.pk}/receipt")
    assert "<dt>Quoted</dt><dd>24 credits</dd>" in page and "<dt>Paid by a pass</dt><dd>3 pictures</dd>" in page
    assert "<strong>0 credits</strong>" in page and "<dt>Given back</dt><dd>6 credits</dd>" in page
    assert "<dt>Price list</dt><dd>2026-11</dd>" in page and "<dt>Resolution</dt><dd>× 1</dd>" in page
    assert page.count("<tr><td>") == 4 and "−3 pictures" in page and "+6" in page
    assert "4 pictures, 512 × 512" in page and "data-print" in page


def test_the_receipt_of_an_open_and_a_canceled_job(client, user):
    job = make_job(user)
    address = f"/jobs/{job.pk}/receipt"
    assert "<dt>Set aside</dt><dd>6 credits</dd>" in text_of(client, address)
    cancel_job(job)
    page = text_of(client, address)
    assert "<strong>0 credits</strong>" in page and "<dt>Given back</dt><dd>6 credits</dd>" in page
    assert f'href="/jobs/{job.pk}/receipt"' in text_of(client, f"/jobs/{job.pk}")


def test_a_job_that_was_settled_late_has_one_receipt(client, user, team):
    from credits import ledger

    job = make_job(user)
    ledger.lapse(team_id=team.pk, reference=str(job.pk))
    ledger.settle(team_id=team.pk, reference=str(job.pk), delivered=1)
    receipt = queries.receipt_of(team, job.pk)
    assert receipt and (receipt.charged_centi, receipt.released_centi, len(receipt.holds)) == (600, 0, 2)
    assert [entry.kind for entry in receipt.entries] == ["reserve", "release", "reserve", "settle"]


def test_a_receipt_shows_what_could_not_be_collected(client, user, team):
    from credits import ledger

    job = make_job(user)
    ledger.lapse(team_id=team.pk, reference=str(job.pk))
    services.adjust(team=team, amount_centi=-balance_of(team).available_centi, reference="gone", actor="t", reason="t")
    ledger.settle(team_id=team.pk, reference=str(job.pk), delivered=1)
    receipt = queries.receipt_of(team, job.pk)
    assert receipt and (receipt.charged_centi, receipt.uncollected_centi) == (0, 600)
    assert "6 credits: delivered late, and you owe nothing for it" in text_of(client, f"/jobs/{job.pk}/receipt")


def test_another_teams_receipt_is_not_there(user):
    assert make_stranger().get(f"/jobs/{make_job(user).pk}/receipt").status_code == 404


# --- Plans and notices ----------------------------------------------------------------------------------------------
def test_plans_and_passes_are_rows_for_everybody():
    Plan.objects.filter(slug="enterprise").update(is_active=False)
    PassProduct.objects.filter(slug="flash").update(price_cents=12_345)
    page = text_of(Client(), PLANS)
    assert "<dt>Credits a month</dt><dd>2,000</dd>" in page and "Enterprise" not in page
    assert "INR 123.45" in page and "INR 50" in page and "Billing is off on this server." in page
    assert "1, while bonus, bought or pass credits last" in page


def test_a_notice_stands_on_every_page_without_another_statement(client, team, django_assert_num_queries):
    for address in (CREDITS, STUDIO, "/gallery", "/account/"):
        client.get(address)
        with CaptureQueriesContext(connection) as before:
            assert "banner" not in client.get(address).content.decode()
        notice = Notice.objects.create(wallet=team.wallet, kind="low", key=address, text="<b>Few</b> credits are left.")
        with django_assert_num_queries(len(before)):
            page = client.get(address).content.decode()
        assert "&lt;b&gt;Few&lt;/b&gt; credits are left." in page
        notice.delete()


def test_a_dismissed_notice_is_gone_for_the_whole_team(client, team):
    notice = Notice.objects.create(wallet=team.wallet, kind="low", key="1000", text="Few credits are left.")
    address = f"/credits/notices/{notice.pk}/dismiss"
    assert client_of(make_user()).post(address).status_code == 404
    assert "Few credits" in text_of(client, CREDITS)
    assert client.post(address, headers=HTMX).content == b""
    assert "Few credits" not in text_of(client, CREDITS)
    assert client.post(address).url == CREDITS
