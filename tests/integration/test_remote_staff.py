"""What staff and operators do with providers: rows in the admin, a trial from the command line, what they cost."""

from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from generation import report
from generation.models import Job, Provider, RemoteRequest
from tenkaigen import outgoing
from tests.factories import make_job, make_user
from tests.fake_provider import FakeProvider, sends_json
from tests.fake_web import sends
from tests.remote import SECRETS, configure, make_provider, remote_worker, run

FORM = {
    "slug": "fal", "kind": "queue", "endpoint": "https://queue.fal.run/fal-ai/qwen-image",
    "status_url": "https://queue.fal.run/fal-ai/qwen-image/requests/{request_id}/status",
    "result_url": "https://queue.fal.run/fal-ai/qwen-image/requests/{request_id}",
    "serves": '["starter"]', "result_hosts": '["fal.media", ".fal.media"]', "api_secret": "FAKE",
    "signature_scheme": "hmac-sha256", "webhook_secret": "", "webhook_secret_next": "", "price_per_image": "0.02",
    "deadline_seconds": "300", "requests_max": "4", "position": "0", "is_active": "on",
}  # fmt: skip


@pytest.fixture(autouse=True)
def configured(catalogue, bell, settings):
    configure(settings)


@pytest.fixture
def fake(monkeypatch):
    with FakeProvider() as server:
        client = outgoing.Client(local=[server.place])
        monkeypatch.setattr("generation.management.commands.check_provider.Client", lambda: client)
        yield server


@pytest.fixture
def boss() -> Client:
    client = Client()
    client.force_login(make_user(is_staff=True, is_superuser=True))
    return client


# --- The admin ------------------------------------------------------------------------------------------------------
def test_a_provider_is_added_and_its_secrets_are_never_shown(boss):
    assert boss.post(reverse("admin:generation_provider_add"), FORM).status_code == 302
    provider = Provider.objects.get()
    assert (provider.serves, provider.result_hosts) == (["starter"], ["fal.media", ".fal.media"])
    page = boss.get(reverse("admin:generation_provider_change", args=[provider.pk])).content.decode()
    assert not [secret for secret in SECRETS.values() if secret in page]
    assert (
        boss.post(reverse("admin:generation_provider_delete", args=[provider.pk]), {"post": "yes"}).status_code == 403
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("endpoint", "http://queue.fal.run/x"), ("endpoint", "https://127.0.0.1/x"), ("endpoint", "https://a@b.example/"),
        ("endpoint", "https://metadata.google.internal/"), ("status_url", "https://queue.fal.run/status"),
        ("status_url", ""), ("status_url", "https://localhost/{request_id}"), ("api_secret", "SECRET_KEY"),
        ("api_secret", "MISSING"), ("api_secret", ""), ("webhook_secret", "../x"), ("webhook_secret", "MISSING"),
        ("serves", "[]"), ("serves", '["no-such-model"]'), ("serves", "starter"), ("result_hosts", "[]"),
        ("result_hosts", '["*"]'), ("result_hosts", '["localhost"]'), ("result_hosts", '["https://fal.media/"]'),
        ("result_hosts", "[5]"), ("price_per_image", "-1"), ("deadline_seconds", "0"), ("deadline_seconds", "100000"),
        ("requests_max", "0"), ("kind", "pigeon"), ("signature_scheme", "md5"),
    ],
)  # fmt: skip
def test_a_row_that_could_not_work_is_refused(boss, field, value):
    answer = boss.post(reverse("admin:generation_provider_add"), {**FORM, field: value})
    assert answer.status_code == 200 and answer.context["adminform"].form.errors
    assert not Provider.objects.exists()


def test_a_provider_that_nobody_could_hear_of_is_refused(boss):
    row = {**FORM, "kind": "endpoint", "status_url": "", "result_url": ""}
    answer = boss.post(reverse("admin:generation_provider_add"), row)
    assert "nobody tells us" in str(answer.context["adminform"].form.errors)
    assert boss.post(reverse("admin:generation_provider_add"), {**row, "webhook_secret": "HOOK"}).status_code == 302


# --- The trial ------------------------------------------------------------------------------------------------------
def test_a_trial_orders_one_picture_and_leaves_nothing(fake, capsys):
    make_provider(fake, is_active=False)
    fake.is_instant = True
    call_command("check_provider", "fake")
    facts = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert (facts["size"], facts["picture"], facts["webhook_secret"]) == ("256x256", "ok", "HOOK ok")
    assert facts["callback"].startswith("https://tenkai.example.com/api/v1/webhooks/provider/")
    assert "answered_seconds" in facts and len(fake.posts()) == 1
    assert not Job.objects.exists() and not RemoteRequest.objects.exists()


def test_a_trial_asks_until_the_picture_is_there(fake, capsys):
    make_provider(fake, kind="queue", webhook_secret="")
    real, looks = fake._status, []

    def status(request_id):
        looks.append(request_id)
        if len(looks) == 3:
            fake.finish(status="COMPLETED")
        return real(request_id)

    fake._status = status
    call_command("check_provider", "fake", model="starter")
    assert "picture ok" in capsys.readouterr().out and len(looks) == 3


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (sends(401, b""), "not now: answered 401"),
        (sends_json(422, {"detail": "no such model"}), "refused: answered 422"),
        (sends(500, b"oops"), "unsure: answered 500: oops"),
        (sends_json(200, {"status": "failed", "error": "no device"}), "refused: no device"),
        (sends_json(200, {"status": "completed", "images": ["http://10.0.0.1/a.png"]}), "refused: Use an address"),
    ],
)
def test_a_trial_says_what_is_wrong(fake, reply, reason):
    make_provider(fake)
    fake.will_post(reply)
    with pytest.raises(CommandError, match=reason):
        call_command("check_provider", "fake")


def test_a_trial_does_not_wait_for_ever(fake):
    make_provider(fake)
    with pytest.raises(CommandError, match="no answer in"):
        call_command("check_provider", "fake", seconds=0.2)


def test_a_trial_needs_a_provider_a_model_and_its_secrets(fake, settings):
    make_provider(fake)
    with pytest.raises(CommandError, match="There are: fake"):
        call_command("check_provider", "fal")
    with pytest.raises(CommandError, match="does not serve sd15"):
        call_command("check_provider", "fake", model="sd15")
    settings.PROVIDER_SECRETS = {"FAKE": "x", "HOOK": "short"}
    with pytest.raises(CommandError, match="PROVIDER_SECRET_HOOK: A webhook secret has at least 24 bytes"):
        call_command("check_provider", "fake")
    settings.PROVIDER_SECRETS = {"HOOK": SECRETS["HOOK"]}
    with pytest.raises(CommandError, match="PROVIDER_SECRET_FAKE is not set"):
        call_command("check_provider", "fake")
    assert fake.posts() == []


# --- What it costs --------------------------------------------------------------------------------------------------
def test_the_report_knows_what_providers_took(fake, settings):
    settings.DEVICE_PRICE_PER_HOUR = settings.STORAGE_PRICE_PER_GB_MONTH = Decimal(0)
    make_provider(fake, price_per_image="0.00300")
    make_job(make_user(credits=100), count=2)
    fake.is_instant = True
    with remote_worker(fake) as worker:
        run(worker, 3)
    # A later price is for later pictures.
    Provider.objects.update(price_per_image=9)
    line = report.make(report.last_days(1)).total
    assert (line.images, line.device_seconds, line.cost) == (2, 0, Decimal("0.006"))
    assert line.cost_per_1000 == Decimal(3)
    Job.objects.update(finished_at=Now())
    settings.DEVICE_PRICE_PER_HOUR = Decimal(1)
    assert report.make(report.last_days(1)).total.cost == Decimal("0.006")
