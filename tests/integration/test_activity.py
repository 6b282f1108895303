"""The activity log: who did what in a team, as a page, in the admin, and for a limited time."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts import activity, services
from accounts.models import Activity, ApiKey
from accounts.tasks import clean_up
from tests.factories import make_user, team_of
from tests.integration.pages import client_of, make_stranger

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]
PAGE, MORE = "/team/activity", "/team/activity/more"


def note(user, number: int = 1, verb: str = "job.submitted") -> None:
    for place in range(number):
        activity.record(team=team_of(user), actor=user, verb=verb, target=f"number {place}", images=place)


def verbs_of(user) -> list[str]:
    return list(Activity.objects.filter(team=team_of(user)).order_by("created_at").values_list("verb", flat=True))


def test_accounts_note_their_own_acts():
    user = make_user()
    key, _ = services.create_api_key(team=team_of(user), user=user, name="site")
    assert services.revoke_api_key(key, actor="staff:ana@example.com")
    assert not services.revoke_api_key(key, actor=user)
    assert verbs_of(user) == ["account.created", "account.confirmed", "key.created", "key.revoked"]
    last = Activity.objects.latest("created_at")
    assert (last.actor, last.actor_user, last.topic, last.target) == ("staff:ana@example.com", None, "key", "site")
    assert last.details == {"prefix": key.prefix}


@pytest.mark.parametrize("is_key", [True, False])
def test_a_key_acts_by_its_name_for_its_maker(is_key):
    user = make_user()
    key = ApiKey(team=team_of(user), user=user, name="site")
    line = activity.record(team=team_of(user), actor=key if is_key else user, verb="job.submitted")
    assert (line.actor, line.actor_user) == ("key site" if is_key else user.email, user)


def test_noting_takes_one_statement_and_goes_with_its_transaction(django_assert_num_queries):
    user = make_user()
    team = team_of(user)
    before = Activity.objects.count()
    with django_assert_num_queries(1):
        activity.record(team=team, actor="system", verb="credits.granted", target="x" * 500)
    with transaction.atomic():
        activity.record(team=team, actor=user, verb="credits.adjusted")
        transaction.set_rollback(True)
    assert Activity.objects.count() == before + 1
    assert Activity.objects.get(verb="credits.granted").target == "x" * 200


@pytest.mark.parametrize("verb", ["submitted", "weather.changed", "job.", "Job.submitted", "job.sub mitted"])
def test_a_verb_is_stable_and_dotted(verb):
    user = make_user()
    before = Activity.objects.count()
    with pytest.raises(AssertionError):
        activity.record(team=team_of(user), actor=user, verb=verb)
    assert Activity.objects.count() == before


def test_what_has_happened_does_not_change():
    make_user()
    line = Activity.objects.get(verb="account.created")
    line.verb = "account.other"
    with pytest.raises(AssertionError):
        line.save()
    assert Activity.objects.filter(verb="account.created").exists()


def test_every_known_verb_has_a_topic():
    assert {verb.partition(".")[0] for verb in activity.WORDS} <= activity.TOPICS.keys()
    assert activity.words_of("job.made_up_later") == "made up later"


# --- The page -------------------------------------------------------------------------------------------------------
def test_the_page_shows_the_newest_first_and_escapes():
    user = make_user()
    activity.record(team=team_of(user), actor=user, verb="key.created", target="<b>site</b>")
    text = client_of(user).get(PAGE).content.decode()
    assert text.index("made the key") < text.index("signed up")
    assert "&lt;b&gt;site&lt;/b&gt;" in text and user.email in text


def test_the_page_can_be_filtered():
    user = make_user()
    note(user)
    client = client_of(user)
    text = client.get(PAGE, {"topic": "job"}).content.decode()
    assert "ordered pictures" in text and "signed up" not in text
    assert "Nothing of this kind yet." in client.get(PAGE, {"topic": "billing"}).content.decode()
    assert "signed up" in client.get(PAGE, {"topic": "invented"}).content.decode()


def test_an_empty_page_says_so():
    user = make_user()
    Activity.objects.all().delete()
    assert b"Nothing yet." in client_of(user).get(PAGE).content


def test_pages_follow_one_another_without_gap_or_overlap():
    user = make_user()
    note(user, 6)
    seen, cursor = [], None
    while True:
        page = activity.page_of(team_of(user), cursor, topic="job", size=4)
        seen += [line.details["images"] for line in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == [5, 4, 3, 2, 1, 0]


def test_the_page_takes_few_statements_however_many_lines(django_assert_max_num_queries):
    user = make_user()
    note(user, 40)
    client = client_of(user)
    with django_assert_max_num_queries(5):
        text = client.get(PAGE).content.decode()
    assert text.count("row-entry__what") == activity.PAGE_ROWS and "Older lines" in text


def test_a_broken_link_starts_again():
    client = client_of(make_user())
    assert client.get(PAGE, {"cursor": "x"}).url == PAGE
    assert client.get(MORE, {"cursor": "9" * 30}).status_code == 404


def test_another_team_sees_nothing_of_it():
    user = make_user()
    note(user)
    assert "number 0" not in make_stranger().get(PAGE).content.decode()
    assert Client().get(PAGE).status_code == 302


# --- The admin, and the end -----------------------------------------------------------------------------------------
def test_staff_read_it_and_change_nothing():
    user, boss = make_user(), make_user(is_staff=True, is_superuser=True)
    note(user)
    line, client = Activity.objects.get(verb="job.submitted"), client_of(boss)
    listing = client.get("/admin/accounts/activity/", {"topic": "job", "q": str(team_of(user).pk)}).content.decode()
    assert "job.submitted" in listing and "account.created" not in listing.split("result_list")[1]
    address = f"/admin/accounts/activity/{line.pk}/change/"
    assert b"number 0" in client.get(address).content
    assert client.post(address, {"verb": "job.canceled"}).status_code == 403
    assert client.get("/admin/accounts/activity/add/").status_code == 403
    line.refresh_from_db()
    assert line.verb == "job.submitted"


def test_lines_go_when_their_time_is_over(settings, monkeypatch):
    monkeypatch.setattr(activity, "CLEANUP_BATCH", 2)
    user = make_user()
    note(user, 5)
    old = timezone.now() - timedelta(days=settings.ACTIVITY_DAYS, seconds=1)
    Activity.objects.filter(topic="job").update(created_at=old)
    clean_up()
    assert verbs_of(user) == ["account.created", "account.confirmed"]
