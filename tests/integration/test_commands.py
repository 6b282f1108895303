"""The commands: what they print, what they change, and that running them again is harmless."""

import os
from datetime import timedelta
from io import StringIO

import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import User
from credits.models import Grant, Wallet
from credits.queries import balance_of
from generation import seed, storage
from generation.engine import catalog
from generation.models import Image, ImageModel, Job, Product, Style
from tests.factories import make_job, make_user, team_of
from tests.pictures import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def run(name: str, *args: str, **options: object) -> list[str]:
    """The lines a command prints."""
    out = StringIO()
    call_command(name, *args, stdout=out, **options)
    return out.getvalue().splitlines()


# --- seed_catalogue -------------------------------------------------------------------------------------------------
def test_seeding_twice_adds_nothing_and_keeps_what_staff_changed():
    run("seed_catalogue")
    counts = (Style.objects.count(), Product.objects.count(), ImageModel.objects.count())
    assert counts[0] >= 12 and counts[1] >= 4 and counts[2] == len(catalog.CATALOG)
    Style.objects.filter(slug="anime").update(name="Manga", is_active=False, position=99)
    ImageModel.objects.filter(slug="starter").update(complexity="2.50")
    Product.objects.filter(slug="mug").delete()
    run("seed_catalogue")
    assert (Style.objects.count(), Product.objects.count(), ImageModel.objects.count()) == counts
    style = Style.objects.get(slug="anime")
    assert (style.name, style.is_active, style.position) == ("Manga", False, 99)
    assert str(ImageModel.objects.get(slug="starter").complexity) == "2.50"


def test_only_the_shipped_model_is_offered_at_first(catalogue):
    assert list(ImageModel.objects.filter(is_active=True).values_list("slug", flat=True)) == ["starter"]
    assert seed.seed() == {"styles": 0, "products": 0, "reference models": 0, "models": 0}


def test_every_recipe_keeps_the_persons_words(catalogue):
    assert all("{prompt}" in style.recipe for style in Style.objects.all())


# --- audit_ledger ---------------------------------------------------------------------------------------------------
def test_a_clean_ledger_passes(catalogue):
    make_job(make_user(credits=100))
    assert run("audit_ledger") == ["entries: 2 drift: 0"]


def test_a_planted_drift_is_printed_and_fails(catalogue):
    user = make_user(credits=100)
    make_job(user)
    wallet = Wallet.objects.get(team=team_of(user))
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE credits_entry DISABLE TRIGGER entries_are_append_only")
        cursor.execute("UPDATE credits_entry SET amount_centi = amount_centi + 1 WHERE kind = 'reserve'")
        cursor.execute("UPDATE credits_wallet SET available_centi = available_centi + 5 WHERE id = %s", [wallet.pk])
        cursor.execute("ALTER TABLE credits_entry ENABLE TRIGGER entries_are_append_only")
    out = StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("audit_ledger", stdout=out)
    assert stopped.value.code == 1
    lines = out.getvalue().splitlines()
    assert f"wallet {wallet.pk}: available or held differs from its grants" in lines
    assert any("replaying its entries gives other buckets" in line for line in lines)
    assert any("does not follow from the one before" in line for line in lines)
    assert f"wallet {wallet.pk}: its newest entry says another balance" in lines
    assert any("its entries are not what its parts say" in line for line in lines)
    assert lines[-1] == "entries: 2 drift: 5"


# --- grant_credits --------------------------------------------------------------------------------------------------
def test_a_reference_gives_once():
    user = make_user(email="anna@example.com")
    for _ in range(2):
        assert run("grant_credits", "Anna@example.com", "12.50", "--reference", "support-1") == [
            f"{team_of(user).name}: 12.50 credits available"
        ]
    grant = Grant.objects.get()
    assert (grant.granted_centi, grant.source, grant.source_ref) == (1250, "adjustment", "staff:support-1")
    with pytest.raises(CommandError, match="stands for another grant"):
        run("grant_credits", "anna@example.com", "13", "--reference", "support-1")


@pytest.mark.parametrize("amount", ["0", "-5", "x", "1.005", "nan", "inf", "1e20", ""])
def test_odd_amounts_are_refused(amount):
    user = make_user(email="anna@example.com")
    with pytest.raises(CommandError):
        run("grant_credits", "--reference", "r", "--", "anna@example.com", amount)
    assert balance_of(team_of(user)).available_centi == 0


def test_credits_need_somebody_and_a_reference():
    with pytest.raises(CommandError, match="no user nobody@"):
        run("grant_credits", "nobody@example.com", "5", "--reference", "r")
    with pytest.raises(CommandError, match="--reference"):
        run("grant_credits", "nobody@example.com", "5")


def test_words_that_are_too_long_are_refused():
    make_user(email="anna@example.com")
    for option in ("reference", "reason"):
        with pytest.raises(CommandError, match=f"--{option}"):
            run("grant_credits", "anna@example.com", "5", "--reference", "r", f"--{option}", "r" * 201)
    with pytest.raises(CommandError, match="--name"):
        run("create_api_key", "anna@example.com", "--name", "n" * 81)


# --- cleanup_images and sweep_storage -------------------------------------------------------------------------------
def test_expired_images_are_listed_then_deleted(catalogue, django_capture_on_commit_callbacks):
    user = make_user(credits=100)
    (old,), (young,) = deliver(make_job(user)), deliver(make_job(user))
    Image.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(days=1))
    lines = run("cleanup_images")
    assert lines[0].startswith(f"{old.key} expired ") and lines[-1] == "expired: 1"
    assert Image.objects.count() == 2 and default_storage.exists(old.key)
    with django_capture_on_commit_callbacks(execute=True):
        assert run("cleanup_images", apply=True) == ["deleted: 1"]
    assert list(Image.objects.all()) == [young]
    assert not any(default_storage.exists(key) for key in storage.files_of(old))
    assert all(default_storage.exists(key) for key in storage.files_of(young))
    assert Job.objects.count() == 2


def test_old_files_without_a_row_are_listed_then_deleted(catalogue):
    (image,) = deliver(make_job(make_user(credits=100)))
    orphan, young = "ai-generated/9/orphan.png", "ai-generated/9/young.png"
    for key in (orphan, young):
        storage.put(key, b"x")
    long_ago = (timezone.now() - timedelta(hours=25)).timestamp()
    for key in (orphan, *storage.files_of(image)):
        os.utime(default_storage.path(key), (long_ago, long_ago))
    assert run("sweep_storage") == [orphan, "without a row: 1"]
    assert default_storage.exists(orphan)
    assert run("sweep_storage", apply=True) == [orphan, "deleted: 1"]
    assert not default_storage.exists(orphan)
    assert all(default_storage.exists(key) for key in (young, *storage.files_of(image)))


# --- sweep_jobs -----------------------------------------------------------------------------------------------------
def test_sweeping_recovers_a_lost_job(catalogue, bell):
    job = make_job(make_user(credits=100))
    Job.objects.filter(pk=job.pk).update(
        status="processing", attempts=1, fence=1, lease_until=timezone.now() - timedelta(seconds=1)
    )
    lines = run("sweep_jobs")
    job.refresh_from_db()
    assert job.status == "queued"
    assert "recovered: 1" in " ".join(lines)


# --- accounts -------------------------------------------------------------------------------------------------------
def test_a_key_is_printed_once_and_works():
    make_user(email="anna@example.com")
    (text,) = run("create_api_key", "Anna@Example.com", "--name", "ci")
    assert Client(headers={"Authorization": f"Bearer {text}"}).get("/api/v1/jobs").status_code == 200
    with pytest.raises(CommandError, match="no user"):
        run("create_api_key", "nobody@example.com")


def test_keys_are_bounded():
    make_user(email="anna@example.com")
    for _ in range(20):
        run("create_api_key", "anna@example.com")
    with pytest.raises(CommandError, match="can have 20 keys"):
        run("create_api_key", "anna@example.com")


def test_the_demo_account_exists_only_on_embedded_servers(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    settings.EMBEDDED = False
    with pytest.raises(CommandError, match="only on the embedded servers"):
        run("make_demo_account")
    assert not User.objects.exists()
    settings.EMBEDDED = True
    (line,) = run("make_demo_account")
    email, password = line.split()
    assert run("make_demo_account") == [line]
    user = User.objects.get(is_demo=True)
    assert (user.email, user.check_password(password)) == (email, True)
    assert balance_of(team_of(user)).available_centi == 10_000
    file = tmp_path / "demo-account.txt"
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()
    (renewed,) = run("make_demo_account")
    user.refresh_from_db()
    assert renewed != line and user.check_password(renewed.split()[1]) and User.objects.count() == 1
