"""The statement as a page, as CSV and for programs."""

import csv
import io

import pytest
from django.db import connection, transaction

from accounts import services as accounts
from credits import ledger, passes, words
from credits import services as credit_services
from credits.models import Entry, Grant, PassProduct, Plan
from credits.plans import subscribe
from credits.queries import statement, statement_page
from generation import services
from tests.factories import make_job, make_training_job, make_user, team_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
PAGE, MORE, CSV, API = (
    "/credits/statement", "/credits/statement/more", "/credits/statement.csv", "/api/v1/credits/history",
)  # fmt: skip


@pytest.fixture
def owner(client):
    user = make_user(credits=100)
    client.force_login(user)
    return user


def give(user, amount_centi=100, reference="ticket-1", reason="Sorry"):
    with transaction.atomic():
        credit_services.adjust(
            team=team_of(user), amount_centi=amount_centi, reference=reference, actor="staff", reason=reason
        )


def test_every_movement_stands_there_newest_first_with_its_job(client, owner):
    job = make_job(owner)
    services.cancel_job(job)
    give(owner, reason="<b>Sorry</b>")
    text = client.get(PAGE).content.decode()
    places = [text.index(words) for words in ("Given back from a job", "Set aside for a job", "+100")]
    assert places == sorted(places)
    assert f"/jobs/{job.id}" in text and "−6" in text and "101 left" in text
    assert "&lt;b&gt;Sorry&lt;/b&gt;" in text


def test_it_can_be_filtered_and_a_broken_link_starts_again(client, owner):
    make_job(owner)
    text = client.get(PAGE, {"kind": "reserve"}).content.decode()
    assert "Set aside for a job" in text and "Credits added" not in text
    assert "No movements of this kind yet." in client.get(PAGE, {"kind": "expire"}).content.decode()
    assert client.get(PAGE, {"cursor": "x"}).status_code == 302
    assert client.get(MORE, {"cursor": "9" * 30}).status_code == 404


def test_pages_follow_one_another_without_gap_or_overlap(owner):
    for number in range(7):
        give(owner, reference=f"ticket-{number}")
    seen, cursor = [], None
    while True:
        page = statement_page(team_of(owner), cursor, size=3)
        seen += [entry.seq for entry in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == list(range(8, 0, -1))


def test_the_page_takes_few_statements_however_many_entries(client, owner, django_assert_max_num_queries):
    for number in range(40):
        give(owner, reference=f"ticket-{number}")
    with django_assert_max_num_queries(5):
        client.get(PAGE)


@pytest.mark.parametrize("kind", ["", "grant"])
def test_a_page_is_read_in_the_order_of_an_index(owner, kind):
    """A sort would read every entry for one page: 0.8 s where there are a million."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan = statement._entries(team_of(owner), kind)[:51].explain()
    assert "Sort" not in plan and "Index Scan" in plan and "credits_entry" in plan


def test_the_csv_holds_everything_and_no_formula(client, owner, monkeypatch):
    monkeypatch.setattr("credits.queries.statement.EXPORT_CHUNK", 2)
    for number in range(4):
        give(owner, reference=f"ticket-{number}", reason="=1+1")
    answer = client.get(CSV)
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert [row["number"] for row in rows] == ["5", "4", "3", "2", "1"]
    assert (rows[0]["unit"], rows[0]["what"], rows[0]["debt_after"]) == ("credit", "Adjustment", "0.00")
    assert (rows[0]["amount"], rows[0]["available_after"], rows[0]["reason"]) == ("1.00", "104.00", "'=1+1")
    assert answer["Content-Disposition"] == 'attachment; filename="statement.csv"'


def test_each_line_says_what_it_was_for(client, owner):
    team = team_of(owner)
    subscribe(team=team, plan=Plan.objects.get(slug="basic"), actor="staff")
    flash = PassProduct.objects.get(slug="flash")
    issued = passes.issue(team=team, product=flash, reference="sale", actor="staff")
    passes.activate(team=team, pass_id=issued.pk, actor="staff")
    job = make_job(owner, size="512x512", count=2)
    text = " ".join(client.get(PAGE).content.decode().split())
    assert f'<a href="/jobs/{job.pk}">2 pictures, 512 × 512</a>' in text and "−2 pictures" in text
    assert "Pass started" in text and "Flash pass" in text and "+8 pictures" in text
    assert "Plan, " in text and "+500" in text
    rows = list(csv.DictReader(io.StringIO(b"".join(client.get(CSV).streaming_content).decode())))
    assert [(row["unit"], row["amount"], row["job"]) for row in rows[:2]] == [
        ("image", "2.00", str(job.pk)), ("image", "8.00", ""),
    ]  # fmt: skip
    assert rows[0]["what"] == "2 pictures, 512 × 512"


def test_a_training_stands_there_by_what_it_was_for_and_comes_back_when_it_is_canceled(client, owner):
    job = make_training_job(owner, pictures=3)
    receipt = client.delete(f"/api/v1/jobs/{job.pk}").json()["receipt"]
    assert [(line["kind"], line["what"]) for line in receipt["entries"]] == [
        ("reserve", "A model from 3 pictures"), ("release", "A model from 3 pictures"),
    ]  # fmt: skip
    assert [words.work({"kind": kind}) for kind in ("creation", "refinement")] == ["A model", "Refinement"]


def test_a_debt_is_told_from_its_rise_to_its_end(client, owner):
    team = team_of(owner)
    grant = team.wallet.grants.get()
    make_job(owner)
    common = {"team_id": team.pk, "reference": "refund-1", "actor": "staff", "reason": "Refund"}
    ledger.revoke(grant_id=grant.pk, amount_centi=10_000, **common)
    text = client.get(PAGE).content.decode()
    assert "Taken back after it was spent" in text and "6 owed" in text and "−94" in text
    give(owner, 200, reference="ticket-2")
    ledger.reinstate(**common)
    text = " ".join(client.get(PAGE).content.decode().split())
    assert "Paid an open debt" in text and "Debt forgiven" in text
    for kind in ("owe", "repay", "forgive"):
        assert "No movements of this kind yet." not in client.get(PAGE, {"kind": kind}).content.decode()


def test_another_team_sees_nothing_of_it(client, owner):
    give(owner, reason="Private")
    client.force_login(make_user())
    assert "Private" not in client.get(PAGE).content.decode()
    assert client.get(API).json() == {"items": [], "next_cursor": None}


def test_programs_page_through_it_by_key(client, owner):
    job = make_job(owner)
    _, key = accounts.create_api_key(team=team_of(owner), user=owner, name="test")
    client.logout()
    ask = {"headers": {"Authorization": f"Bearer {key}"}}
    first = client.get(API, {"limit": 1}, **ask).json()
    assert first["items"][0]["kind"] == "reserve" and first["items"][0]["job"] == str(job.id)
    assert (first["items"][0]["amount"], first["items"][0]["reserved_after"]) == ("6.00", "6.00")
    second = client.get(API, {"limit": 1, "cursor": first["next_cursor"]}, **ask).json()
    assert second["items"][0]["number"] == 1 and second["next_cursor"] is None
    assert client.get(API, {"kind": "grant"}, **ask).json()["items"][0]["source"] == "bonus"


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": "x"}, {"kind": "theft"}, {"cursor": "-1"}])
def test_what_is_not_offered_is_refused(client, owner, query):
    assert client.get(API, query).status_code == 400


def test_every_kind_of_entry_has_its_words():
    assert words.KINDS.keys() == words.SHORT.keys() == set(Entry.Kind)
    assert words.SOURCES.keys() == set(Grant.Source)
