"""Taking everything along, and going: softly, back again, and for good; by page, command and the hourly task."""

import csv
import io
import json
import zipfile
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import services
from accounts.errors import OwnerStays, TooLate
from accounts.models import Activity, ApiKey, Invitation, Membership, Team, User
from accounts.queries import find_key
from accounts.signals import team_purged
from accounts.tasks import clean_up
from credits import passes
from credits.audit import find_drift
from credits.models import Entry, PassProduct
from generation import storage
from generation.models import Image, Job
from tests.factories import make_job, make_member, make_user, team_of
from tests.integration.pages import client_of
from tests.pictures import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
PASSWORD = "correct horse battery"
CANARY = "a canary sings of secrets"


@pytest.fixture
def ana() -> User:
    """Somebody with one of everything."""
    user = make_user(credits=100, email="ana.canary@example.com", name="Ana Canary")
    deliver(make_job(user, prompt=CANARY))
    services.create_api_key(team=team_of(user), user=user, name="canary key")
    services.invite(team=team_of(user), email="friend@example.com", role="member", actor=user)
    return user


def open_zip(answer) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))


def signed_in(user) -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def age(**time: int) -> None:
    """Let every deletion have happened earlier."""
    User.objects.filter(closed_at__isnull=False).update(closed_at=timezone.now() - timedelta(**time))
    Team.objects.filter(closed_at__isnull=False).update(closed_at=timezone.now() - timedelta(**time))


# --- Taking along ---------------------------------------------------------------------------------------------------
def test_the_zip_holds_profile_prompts_pictures_and_statement(ana):
    answer = client_of(ana).post("/account/export")
    assert answer["Content-Disposition"] == 'attachment; filename="tenkaigen-export.zip"'
    archive = open_zip(answer)
    assert archive.testzip() is None
    image, team = Image.objects.get(), team_of(ana)
    picture, statement = f"images/{image.job_id}-0.png", f"statements/{team.pk}.csv"
    documents = ["README.txt", "profile.json", "prompts.json", "models.json"]
    assert sorted(archive.namelist()) == sorted([*documents, picture, statement])
    assert json.loads(archive.read("models.json")) == []
    profile = json.loads(archive.read("profile.json"))
    assert (profile["email"], profile["teams"][0]["role"]) == (ana.email, "owner")
    assert profile["keys"][0]["name"] == "canary key" and "secret" not in profile["keys"][0]
    (job,) = json.loads(archive.read("prompts.json"))
    assert (job["prompt"], job["images"]) == (CANARY, [picture])
    assert archive.read(picture) == storage.read(image.key)
    rows = list(csv.DictReader(io.StringIO(archive.read(statement).decode())))
    assert len(rows) == Entry.objects.count() and rows[-1]["amount"] == "100.00"
    assert Activity.objects.filter(verb="account.exported", actor_user=ana).count() == 1


def test_the_zip_holds_nothing_of_anybody_else(ana):
    other = make_user(credits=10)
    Membership.objects.create(user=other, team=team_of(ana))
    archive = open_zip(client_of(other).post("/account/export"))
    text = "".join(archive.read(name).decode("latin-1") for name in archive.namelist())
    assert CANARY not in text and not any(name.startswith("images/") for name in archive.namelist())
    assert f"statements/{team_of(ana).pk}.csv" not in archive.namelist()


def test_a_picture_that_cannot_be_read_is_listed(ana):
    default_storage.delete(Image.objects.get().key)
    archive = open_zip(client_of(ana).post("/account/export"))
    assert archive.read("missing.txt").decode() == f"images/{Image.objects.get().job_id}-0.png"


def test_a_stranger_and_a_get_take_nothing(ana):
    assert Client().post("/account/export").status_code == 302
    assert client_of(ana).get("/account/export").status_code == 405


def test_the_command_writes_the_same(ana, tmp_path, capsys):
    file = tmp_path / "ana.zip"
    call_command("export_account", "Ana.Canary@example.com", str(file))
    assert len(zipfile.ZipFile(file).namelist()) == 6
    for email, where in ((ana.email, file), ("nobody@example.com", tmp_path / "x.zip")):
        with pytest.raises(CommandError):
            call_command("export_account", email, str(where))


# --- Going, softly --------------------------------------------------------------------------------------------------
def test_deleting_asks_for_the_password_and_stops_everything(ana):
    _, text = services.create_api_key(team=team_of(ana), user=ana, name="bot")
    fresh = client_of(ana)
    assert fresh.get("/account/delete").url.startswith("/accounts/reauthenticate/")
    assert fresh.post("/account/delete").status_code == 302
    ana.refresh_from_db()
    assert ana.closed_at is None
    laptop, phone = signed_in(ana), signed_in(ana)
    assert b"For 7 days you can sign in" in laptop.get("/account/delete").content
    assert laptop.post("/account/delete").url == "/"
    assert laptop.get("/studio").status_code == 302 and phone.get("/studio").status_code == 302
    assert find_key(text) is None and Team.objects.get(name="Ana Canary").closed_at is not None


def test_signing_in_again_offers_one_page_and_restores_all(ana):
    job = Job.objects.get()
    services.close_account(ana)
    client = signed_in(ana)
    for path in ("/studio", f"/jobs/{job.pk}", "/account/", "/api/v1/jobs"):
        assert client.get(path).url == "/account/restore"
    assert b"Restore everything" in client.get("/account/restore").content
    assert client.post("/account/restore").url == "/studio"
    assert client.get(f"/jobs/{job.pk}").status_code == 200
    ana.refresh_from_db()
    assert ana.closed_at is None and team_of(ana).closed_at is None
    assert client.get("/account/restore").url == "/account/"


def test_a_team_that_was_deleted_before_stays_deleted(ana):
    other = services.create_team(user=ana, name="Old")
    services.close_team(team=other, actor=ana)
    Team.objects.filter(pk=other.pk).update(closed_at=timezone.now() - timedelta(days=1))
    services.close_account(ana)
    services.reopen_account(ana)
    services.reopen_account(ana)
    assert list(Team.objects.filter(closed_at=None).values_list("name", flat=True)) == ["Ana Canary"]


def test_nobody_goes_while_others_are_in_their_team(ana):
    make_member(team_of(ana))
    client = signed_in(ana)
    answer = client.post("/account/delete")
    assert answer.status_code == 409 and b"Hand over or delete the teams" in answer.content
    with pytest.raises(OwnerStays, match="Ana Canary"):
        services.close_account(ana)
    ana.refresh_from_db()
    assert ana.closed_at is None and team_of(ana).closed_at is None
    assert client.get("/studio").status_code == 200


def test_after_the_grace_nothing_is_restored(ana):
    services.close_account(ana)
    age(days=8)
    with pytest.raises(TooLate):
        services.reopen_account(ana)
    assert signed_in(ana).post("/account/restore").status_code == 409


# --- Going, for good ------------------------------------------------------------------------------------------------
def everything_said() -> str:
    """All rows that could name a person, and all files."""
    models = (User, Team, Membership, ApiKey, Invitation, Activity, EmailAddress, Job, Image, Entry, LogEntry)
    return str([list(model.objects.values()) for model in models])


def test_who_started_a_pass_of_a_team_that_stays_is_nobody_afterwards():
    """Also where the address is longer than the books have room for."""
    team = team_of(make_user())
    canary = make_member(team)
    canary.email = f"canary@{'long.' * 40}example.com"
    canary.save()
    product = PassProduct.objects.first()
    waiting = passes.issue(team=team, product=product, reference="sale-1", actor="stripe")
    assert client_of(canary).post(f"/passes/{waiting.pk}/start").status_code == 302
    assert Activity.objects.get(verb="pass.activated").actor_user == canary
    services.close_account(canary)
    age(days=8)
    clean_up()
    assert "canary" not in everything_said()
    assert Entry.objects.get().actor == f"person {canary.pk}" and find_drift() == []


def test_the_task_erases_what_is_due_and_the_books_stay(ana, django_capture_on_commit_callbacks):
    entries, files = Entry.objects.count(), list(storage.files_of(Image.objects.get()))
    stays = make_user(credits=10, email="bob@example.com")
    for row in (ana, team_of(ana)):  # staff have changed both
        LogEntry.objects.log_actions(stays.pk, [row], CHANGE, "changed", single_object=True)
    services.close_account(ana)
    clean_up()
    assert "Canary" in everything_said() and default_storage.exists(files[0])
    age(days=8)
    with django_capture_on_commit_callbacks(execute=True):
        clean_up()
    said = everything_said()
    assert "canary" not in said.lower() and "friend@example.com" not in said
    assert not any(default_storage.exists(file) for file in files) and not Image.objects.exists()
    ana.refresh_from_db()
    assert (ana.email, ana.is_active) == (f"person-{ana.pk}@deleted.invalid", False) and ana.erased_at is not None
    assert not ana.has_usable_password()
    assert Entry.objects.count() == entries + 1 and Job.objects.count() == 1 and find_drift() == []
    assert User.objects.get(pk=stays.pk).email == "bob@example.com"
    clean_up()
    assert everything_said() == said


def test_what_was_made_in_the_team_of_another_stays_and_names_nobody():
    owner = make_user(credits=50)
    guest = make_member(team_of(owner))
    services.create_api_key(team=team_of(owner), user=guest, name="guest key")
    flash = PassProduct.objects.get(slug="flash")
    waiting = passes.issue(team=team_of(owner), product=flash, reference="sale", actor="test")
    client_of(guest).post(reverse("credits:start_pass", args=[waiting.pk]))
    assert Entry.objects.get(grant__source="pass").actor == f"person {guest.pk}"
    services.close_account(guest)
    age(days=8)
    clean_up()
    assert guest.email not in everything_said()
    line = Activity.objects.get(team=team_of(owner), verb="key.created")
    assert (line.actor, line.actor_user) == ("a deleted person", None)
    assert Activity.objects.get(verb="pass.activated").actor == "a deleted person"
    assert not Membership.objects.filter(user=guest).exists()


def test_a_store_that_is_away_keeps_nobody_else(ana, django_capture_on_commit_callbacks):
    other = make_user(name="Other")
    for user in (ana, other):
        services.close_account(user)
    age(days=8)

    def fail(sender, team, **kwargs):
        if team.name == "Ana Canary":
            raise ConnectionError

    team_purged.connect(fail)
    try:
        clean_up()
    finally:
        team_purged.disconnect(fail)
    assert User.objects.filter(erased_at=None, email=ana.email).exists()
    assert not User.objects.filter(email=other.email).exists()
    with django_capture_on_commit_callbacks(execute=True):
        clean_up()
    assert "canary" not in everything_said().lower()


def test_the_command_lists_first(ana, capsys):
    call_command("delete_account", ana.email)
    assert "nothing was deleted" in capsys.readouterr().out
    ana.refresh_from_db()
    assert ana.closed_at is None
    call_command("delete_account", ana.email, "--apply")
    ana.refresh_from_db()
    assert ana.closed_at is not None and ana.erased_at is None
    call_command("delete_account", ana.email, "--apply", "--now")
    assert not User.objects.filter(email="ana.canary@example.com").exists()
    with pytest.raises(CommandError, match="no user"):
        call_command("delete_account", "ana.canary@example.com", "--apply")
