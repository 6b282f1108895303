"""Credits in the admin: staff act through services, each act is noted, and prices that count are only shown."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import Activity
from credits import notices, passes, plans, services
from credits.audit import find_drift
from credits.models import (
    Clawback,
    Entry,
    Grant,
    Hold,
    Notice,
    Pass,
    PassProduct,
    Plan,
    PriceVersion,
    Subscription,
    Uncollected,
    Wallet,
)
from credits.price_lists import copy_as_draft
from credits.queries import balance_of
from tests.factories import give, make_job, make_user, team_of
from tests.integration.staff import address, errors, make_boss, post, staff_with, texts

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
LEDGER = (Wallet, Grant, Hold, Entry, Clawback, Uncollected, Notice)
LOOKED_AT = (*LEDGER, Pass, Subscription, PriceVersion, Plan, PassProduct)


@pytest.fixture
def boss() -> Client:
    return make_boss("ana@example.com")


@pytest.fixture
def team():
    return team_of(make_user(credits=100))


@pytest.fixture
def wallet(team) -> Wallet:
    return Wallet.objects.get(team=team)


@pytest.fixture
def draft() -> PriceVersion:
    return copy_as_draft(PriceVersion.objects.get(), "next", actor="x")


def one_of_everything(number: int) -> None:
    for place in range(number):
        user = make_user(credits=100)
        team = team_of(user)
        services.adjust(team=team, amount_centi=-100, reference=f"{team.pk}", actor="x", reason="x")
        make_job(user)
        hold = Hold.objects.filter(wallet__team=team).get()
        Uncollected.objects.create(hold=hold, amount_centi=1, delivered=1)
        Notice.objects.create(wallet=hold.wallet, kind="low", key="1", text="x")
        made = passes.issue(team=team, product=PassProduct.objects.first(), reference=f"{team.pk}", actor="x")
        passes.activate(team=team, pass_id=made.pk, actor="x")
        plans.subscribe(team=team, plan=Plan.objects.get(slug="basic"), actor="x")
        copy_as_draft(PriceVersion.objects.earliest("pk"), f"{place} {str(team.pk)[:30]}", actor="x")


# --- Looking --------------------------------------------------------------------------------------------------------
def test_a_long_list_costs_as_many_statements_as_a_short_one(boss):
    def statements() -> dict[str, int]:
        counted = {}
        for model in LOOKED_AT:
            with CaptureQueriesContext(connection) as captured:
                assert boss.get(address(model, "changelist")).status_code == 200
            counted[model.__name__] = len(captured)
        return counted

    one_of_everything(1)
    statements()
    short = statements()
    one_of_everything(6)
    assert statements() == short
    assert max(short.values()) <= 8


@pytest.mark.parametrize("model", LEDGER, ids=lambda model: model.__name__)
def test_the_ledger_is_never_edited(model, boss):
    one_of_everything(1)
    row = model.objects.first()
    before = list(model.objects.order_by("pk").values())
    assert boss.get(address(model, "change", row.pk)).status_code == 200
    for page in (address(model, "add"), address(model, "change", row.pk), address(model, "delete", row.pk)):
        assert boss.post(page, {"post": "yes", "amount_centi": 1}).status_code == 403
    assert list(model.objects.order_by("pk").values()) == before


@pytest.mark.parametrize("model", LOOKED_AT, ids=lambda model: model.__name__)
def test_whoever_may_look_finds_rows_and_no_button(model, team):
    one_of_everything(1)
    looker = staff_with(f"view_{model._meta.model_name}")
    answer = looker.get(address(model, "change", model.objects.first().pk))
    assert answer.status_code == 200
    assert [title for title, _ in answer.context.get("buttons", []) if title != "Preview"] == []
    assert staff_with().get(address(model, "changelist")).status_code == 403


# --- Wallets --------------------------------------------------------------------------------------------------------
def test_credits_are_adjusted_with_a_reason_and_the_staff_members_name(boss, wallet, team):
    page = address(Wallet, "adjust", wallet.pk)
    said = {"amount": "-12.50", "reference": "ticket-1", "reason": "a mistake"}
    for _ in range(2):
        assert texts(post(boss, page, **said)) == ["Adjusted under ticket-1."]
    assert balance_of(team).available_centi == 8750 and find_drift() == []
    entry = Entry.objects.get(kind="revoke")
    assert (entry.actor, entry.reason) == ("staff:ana@example.com", "a mistake")
    line = Activity.objects.get(team=team, verb="credits.adjusted")
    assert (line.actor, line.target) == ("staff:ana@example.com", "by -12.50")
    assert LogEntry.objects.filter(object_id=str(wallet.pk)).count() == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"amount": "-100.01"}, "The team has 100 credits to take, not 100.01."),
        ({"amount": "0"}, "The amount must be from 0.01 to"),
        ({"amount": "1.005"}, "'1.005' is finer than a hundredth of a credit."),
        ({"amount": "x"}, "'x' is not a number of credits."),
        ({"amount": "1e15"}, "'1e15' is out of range."),
        ({"amount": ""}, "This field is required."),
        ({"reference": ""}, "This field is required."),
        ({"reason": "x" * 101}, "at most 100 characters"),
    ],
)
def test_a_refused_adjustment_says_why_and_moves_nothing(boss, wallet, team, changed, message):
    said = {"amount": "5", "reference": "ticket-1", "reason": "a gift"} | changed
    answer = post(boss, address(Wallet, "adjust", wallet.pk), **said)
    assert answer.status_code == 200 and message in errors(answer)
    assert balance_of(team).available_centi == 10_000 and Entry.objects.count() == 1
    assert not LogEntry.objects.exists() and not Activity.objects.filter(topic="credits").exists()


def test_a_long_address_of_staff_is_cut_to_what_the_books_hold(wallet):
    boss = make_boss(f"ana@{'long.' * 40}example.com")
    post(boss, address(Wallet, "adjust", wallet.pk), amount="1", reference="ticket-1", reason="a gift")
    assert Entry.objects.get(grant__source="adjustment").actor == f"staff:ana@{'long.' * 40}"[:120]


def test_a_wallet_is_frozen_and_thawed(boss, wallet, team):
    assert texts(post(boss, address(Wallet, "freeze", wallet.pk), reason="a disputed payment")) == ["Frozen."]
    wallet.refresh_from_db()
    assert wallet.frozen_reason == "a disputed payment"
    assert "required" in errors(post(boss, address(Wallet, "freeze", wallet.pk), reason=""))
    assert texts(post(boss, address(Wallet, "unfreeze", wallet.pk))) == ["Not frozen any more."]
    wallet.refresh_from_db()
    assert wallet.frozen_reason == ""
    acts = Activity.objects.filter(team=team, topic="credits").order_by("created_at").values_list("verb", "actor")
    assert list(acts) == [("credits.frozen", "staff:ana@example.com"), ("credits.unfrozen", "staff:ana@example.com")]


def test_looking_is_not_acting(wallet, draft):
    looker = staff_with("view_wallet", "view_priceversion", "view_pass", "view_subscription")
    pages = [address(Wallet, name, wallet.pk) for name in ("adjust", "freeze", "unfreeze")]
    pages += [address(PriceVersion, name, draft.pk) for name in ("copy", "publish", "withdraw")]
    pages += [address(Pass, "add"), address(Subscription, "add")]
    before = Wallet.objects.values().get(pk=wallet.pk)
    for page in pages:
        assert looker.get(page).status_code == 403
        assert looker.post(page, {"reason": "x", "name": "x"}).status_code == 403
    assert Wallet.objects.values().get(pk=wallet.pk) == before and PriceVersion.objects.count() == 2
    for page in pages:
        assert Client().get(page)["Location"].startswith(reverse("admin:login"))


def test_a_wallet_that_is_not_there_is_not_found(boss):
    assert boss.get(address(Wallet, "adjust", 999_999)).status_code == 404
    assert boss.get(address(Wallet, "adjust", "x")).status_code == 404
    assert boss.get(address(PriceVersion, "preview", 999_999)).status_code == 404


def test_a_wallet_leads_to_everything_about_its_team(boss, wallet, team):
    answer = boss.get(address(Wallet, "change", wallet.pk))
    html = answer.content.decode()
    for page in (address(Pass, "add"), address(Subscription, "add")):
        assert f"{page}?team={team.pk}" in html
        form = boss.get(f"{page}?team={team.pk}").content.decode()
        assert f'value="{team.pk}" selected' in form
    assert [title for title, _ in answer.context["buttons"]] == ["Adjust the credits", "Freeze", "Unfreeze"]
    assert ">Free<" in html


# --- Passes and plans -----------------------------------------------------------------------------------------------
def test_a_pass_is_issued_to_a_team_once_a_reference(boss, team):
    said = {"team": team.pk, "product": PassProduct.objects.get(slug="flash").pk, "reference": "ticket-1"}
    for _ in range(2):
        assert texts(post(boss, address(Pass, "add"), **said)) == [f"Flash pass issued to {team}."]
    made = Pass.objects.get()
    assert (made.team, made.reference, made.issued_by) == (team, "staff:ticket-1", "staff:ana@example.com")
    other = {**said, "team": team_of(make_user()).pk}
    assert "stands for another pass" in errors(post(boss, address(Pass, "add"), **other))
    PassProduct.objects.filter(slug="flash").update(is_active=False)
    assert "valid choice" in errors(post(boss, address(Pass, "add"), **said | {"reference": "ticket-2"}))
    assert Pass.objects.count() == 1


def test_a_team_is_put_on_a_plan(boss, team):
    said = {"team": team.pk, "plan": Plan.objects.get(slug="pro").pk}
    for _ in range(2):
        assert texts(post(boss, address(Subscription, "add"), **said)) == [f"{team} is on Pro."]
    assert balance_of(team).available_centi == 210_000 and plans.plan_of(team.pk).slug == "pro"
    Subscription.objects.update(external_ref="sub_1")
    free = {**said, "plan": Plan.objects.get(slug="free").pk}
    assert "payment provider" in errors(post(boss, address(Subscription, "add"), **free))
    assert plans.plan_of(team.pk).slug == "pro"


def test_the_default_plan_for_a_team_without_one_is_nothing_to_do(boss, team):
    said = {"team": team.pk, "plan": Plan.objects.get(slug="free").pk}
    assert texts(post(boss, address(Subscription, "add"), **said)) == [f"{team} is on Free."]
    assert not Subscription.objects.exists()


def plan_form(plan: Plan, **changed: object) -> dict[str, object]:
    names = (
        "name", "description", "position", "concurrent_jobs", "queue_priority", "queue_cap", "requests_per_hour",
        "models_max", "training_images_max", "model_storage_bytes",
    )  # fmt: skip
    said = {name: getattr(plan, name) for name in names} | {"seconds_between": plan.seconds_between}
    return {**said, "monthly_credits": plan.monthly_centi / 100, "is_active": "on", **changed}


def test_a_plan_is_edited_and_its_limits_count_at_once(boss, team):
    plan = Plan.objects.get(slug="free")
    said = plan_form(plan, slug="renamed", monthly_credits="12.50", concurrent_jobs=4, is_default="")
    assert boss.post(address(Plan, "change", plan.pk), said).status_code == 302
    plan.refresh_from_db()
    assert (plan.slug, plan.is_default, plan.monthly_centi, plan.concurrent_jobs) == ("free", True, 1250, 4)
    assert plans.limits_of(team.pk).concurrent_jobs == 4


@pytest.mark.parametrize(
    "changed",
    [
        {"queue_cap": 0},
        {"requests_per_hour": 0},
        {"seconds_between": -1},
        {"seconds_between": "nan"},
        {"monthly_credits": "-1"},
        {"monthly_credits": "x"},
        {"concurrent_jobs": -1},
        {"queue_priority": 10**9},
    ],
)
def test_a_plan_that_lets_nothing_through_is_refused(boss, changed):
    plan = Plan.objects.get(slug="basic")
    before = Plan.objects.values().get(pk=plan.pk)
    assert boss.post(address(Plan, "change", plan.pk), plan_form(plan, **changed)).status_code == 200
    assert Plan.objects.values().get(pk=plan.pk) == before
    assert boss.post(address(Plan, "delete", plan.pk), {"post": "yes"}).status_code == 403


def test_a_new_plan_and_a_new_pass_are_made(boss):
    said = plan_form(Plan.objects.get(slug="pro"), slug="studio", name="Studio", monthly_credits="3000")
    assert boss.post(address(Plan, "add"), said).status_code == 302
    assert Plan.objects.get(slug="studio").monthly_centi == 300_000
    product = {"slug": "day", "name": "Day", "price_cents": 90_000, "currency": "INR", "images": 50, "videos": 0}
    product |= {"minutes": 1440, "side_px_max": 512, "position": 9, "is_active": "on"}
    assert boss.post(address(PassProduct, "add"), product).status_code == 302
    made = PassProduct.objects.get(slug="day")
    answer = boss.post(address(PassProduct, "change", made.pk), product | {"images": 0})
    assert answer.status_code == 200 and PassProduct.objects.get(slug="day").images == 50


def test_the_pages_obey_the_content_security_policy(boss, wallet, draft):
    give(wallet.team, 100, expires_at=timezone.now() + timedelta(days=1))
    notices.notify_all()
    pages = [address(Wallet, name, wallet.pk) for name in ("change", "adjust", "freeze", "unfreeze")]
    pages += [address(PriceVersion, name, draft.pk) for name in ("change", "copy", "publish", "preview", "withdraw")]
    pages += [address(model, "add") for model in (Pass, Subscription, Plan, PassProduct)]
    for page in pages:
        answer = boss.get(page)
        html = answer.content.decode()
        assert answer.status_code == 200 and "unsafe" not in answer["Content-Security-Policy"]
        assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", html), page
        assert not re.search(r"<[a-z][^>]*\s(style|on[a-z]+)=", html), page
