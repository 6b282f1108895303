"""The price before it is charged: what the page shows, who pays, and what happens when it changes in between."""

from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.services import create_account
from credits import passes, queries, services
from credits.models import Hold, Pass, PassProduct, PriceRule, PriceVersion
from credits.pricing import Quote
from credits.queries import Balance
from generation.models import ImageModel, Job
from generation.queries import quote
from tests.factories import make_job, make_params, make_user, team_of
from tests.integration.pages import HTMX, client_of, studio_form
from tests.integration.program import Program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def user():
    return make_user(credits=100)


@pytest.fixture
def team(user):
    return team_of(user)


@pytest.fixture
def client(user):
    return client_of(user)


def start(team, slug: str) -> Pass:
    product = PassProduct.objects.get(slug=slug)
    waiting = passes.issue(team=team, product=product, reference="sale-1", actor="test")
    return passes.activate(team=team, pass_id=waiting.pk, actor="test")


def publish(**values: str) -> None:
    """A new price list, in force at once: the old one with other values."""
    old = PriceVersion.objects.get()
    new = PriceVersion.objects.create(name="new")
    for rule in PriceRule.objects.filter(version=old):
        rule.pk, rule.version = None, new
        rule.value = values.get(rule.name, rule.value)
        rule.save()
    PriceVersion.objects.filter(pk=new.pk).update(effective_at=timezone.now())


def quote_of(client, **fields) -> str:
    answer = client.post("/studio/quote", studio_form(**fields), headers=HTMX)
    return " ".join(answer.content.decode().split())


def test_a_pass_pays_first_and_the_quote_says_so(client, user, team):
    start(team, slug="flash-lite")
    assert "<strong>2</strong> from your Flash Lite pass" in quote_of(client, count="2", size="512x512")
    make_job(user, size="512x512")
    split = quote_of(client, count="4", size="512x512")
    assert "<strong>12</strong> credits" in split and "2 from your Flash Lite pass, 2 for 12 credits" in split
    assert 'name="shown_centi" value="1200"' in split
    assert "<strong>36</strong> credits" in quote_of(client, count="4", size="512x512", quality="hd")


def test_the_preview_is_what_the_ledger_then_takes(user, team, django_assert_num_queries):
    start(team, slug="flash-lite")
    job = make_job(user, count=1, size="512x512")
    asked = quote(make_params(count=4, size="512x512"))
    with django_assert_num_queries(1):
        seen = queries.preview(team, asked)
    hold = Hold.objects.get(reference=str(make_job(user, count=4, size="512x512").pk))
    assert (seen.pass_images, seen.credits_centi) == (hold.pass_images, hold.amount_centi) == (2, 1200)
    assert seen.affordable and seen.pass_name == "Flash Lite" and job.quoted_centi == 600


@pytest.mark.parametrize(("credits", "problem"), [(100, ""), (5, "insufficient_credits")])
def test_the_preview_says_whether_the_team_can_pay(credits, problem):
    team = team_of(make_user(credits=credits))
    seen = queries.preview(team, Quote(600, 1))
    assert (seen.problem, seen.affordable) == (problem, not problem)
    services.freeze(team=team, reason="x", actor="test")
    assert queries.preview(team, Quote(600, 1)).problem == "wallet_frozen"


def test_a_price_that_rose_meanwhile_is_shown_again_and_agreed_to_by_sending_again(client, team):
    publish(**{"image.base": "10"})
    sent = studio_form(shown_centi="600")
    answer = client.post("/studio/submit", sent, headers=HTMX)
    text = answer.content.decode()
    assert answer.status_code == 409 and "This costs 12 credits now, not 6. Send it again if you agree." in text
    assert "<strong>12</strong> credits" in text and 'name="shown_centi" value="1200"' in text
    assert not Job.objects.exists() and queries.balance_of(team) == Balance(10_000, 0)
    assert client.post("/studio/submit", sent | {"shown_centi": "1200"}, headers=HTMX).status_code == 201
    assert queries.balance_of(team) == Balance(8_800, 1_200)


def test_a_price_that_fell_meanwhile_is_simply_charged(client, team):
    assert client.post("/studio/submit", studio_form(shown_centi="900"), headers=HTMX).status_code == 201
    assert queries.balance_of(team).held_centi == 600


def test_a_pass_that_ran_out_meanwhile_is_not_paid_in_credits_silently(client, user, team):
    start(team, slug="flash-lite")
    make_job(user, count=3, size="512x512")
    answer = client.post("/studio/submit", studio_form(size="512x512", shown_centi="0"), headers=HTMX)
    assert answer.status_code == 409 and b"This costs 6 credits now, not 0." in answer.content
    assert Job.objects.count() == 1 and queries.balance_of(team) == Balance(10_000, 0)


@pytest.mark.parametrize("name", ["image.resolution", "image.base", "complexity.default", "bonus.welcome"])
def test_a_hole_in_the_prices_is_told_in_words_moves_nothing_and_keeps_nobody_out(client, team, name):
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE credits_pricerule DISABLE TRIGGER USER")  # else there is no way to one
    PriceRule.objects.filter(name=name).delete()
    ImageModel.objects.update(complexity=1)
    sold = name in ("complexity.default", "bonus.welcome")
    assert client.get("/studio").status_code == 200 and ("–" in quote_of(client)) != sold
    answer = client.post("/studio/submit", studio_form(), headers=HTMX)
    program = Program(make_user(credits=100)).post("quotes", {"kind": "creation", "images": 5} if sold else {})
    if sold:
        assert answer.status_code == 201 and (program.status_code == 503) == (name == "complexity.default")
    else:
        assert answer.status_code == 409 and f"The price list has no {name}. Please tell the operator." in unescape(
            answer.content.decode()
        )
        assert (program.status_code, program.json()["code"]) == (503, "price_missing")
        assert not Job.objects.exists() and queries.balance_of(team) == Balance(10_000, 0)
    assert Client().get("/").status_code == Client().get("/accounts/signup/").status_code == 200
    newcomer = team_of(create_account("new@example.com", "a long password"))
    assert queries.balance_of(newcomer).available_centi == (0 if name == "bonus.welcome" else 10_000)


@pytest.mark.parametrize("shown", ["x", "-1", "1.5", "9" * 400])
def test_a_forged_price_is_refused_in_words(client, team, shown):
    answer = client.post("/studio/submit", studio_form(shown_centi=shown), headers=HTMX)
    assert answer.status_code == 422 and b'role="alert"' in answer.content
    assert not Job.objects.exists()


def test_without_credits_the_way_to_more_is_shown():
    client = client_of(make_user(credits=5))
    refused = client.post("/studio/submit", studio_form(), headers=HTMX)
    assert refused.status_code == 402 and b'<a href="/plans">See plans and passes</a>' in refused.content
    assert b'<a href="/plans">' in client.post("/start", {"prompt": "a fox"}).content
    assert '<a href="/plans">Get more</a>' in quote_of(client)
