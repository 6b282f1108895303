"""What the tests of remote providers share: a row that leads to the fake, and a worker that may reach it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.urls import reverse

from generation import sweeper
from generation.models import Job, Provider, RemoteRequest
from generation.remote import requests
from generation.remote.work import RemoteWorker
from tenkaigen import outgoing
from tests.fake_provider import API_SECRET, ED25519_PUBLIC, HMAC_SECRET, HMAC_SECRET_2, FakeProvider

SECRETS = {"FAKE": API_SECRET, "HOOK": HMAC_SECRET, "HOOK_2": HMAC_SECRET_2, "ED25519": ED25519_PUBLIC}


def configure(settings: Any) -> None:
    settings.PROVIDER_SECRETS = dict(SECRETS)
    settings.SITE_URL = "https://tenkai.example.com"
    settings.REMOTE_RETRY_SECONDS = 0
    settings.RETRY_BASE_SECONDS = 0
    settings.STORE_RETRY_SECONDS = 0
    settings.HEARTBEAT_SECONDS = 0.2


def make_provider(fake: FakeProvider | None = None, **fields: Any) -> Provider:
    """A provider that asks and calls back; `kind="queue"` makes it one of the other kind."""
    base = fake.url if fake else "https://provider.example.com"
    host = fake.address if fake else "provider.example.com"
    is_queue = fields.get("kind") == "queue"
    row = {
        "slug": "fake",
        "kind": "endpoint",
        "endpoint": f"{base}/generate",
        "status_url": f"{base}/status/{{request_id}}",
        "result_url": f"{base}/result/{{request_id}}" if is_queue else "",
        "serves": ["starter"],
        "result_hosts": [host],
        "api_secret": "FAKE",
        "webhook_secret": "HOOK",
        "price_per_image": "0.00300",
        "is_active": True,
        **fields,
    }
    return Provider.objects.create(**row)


def make_request(job: Job, **fields: Any) -> RemoteRequest:
    """A request of a job that nobody has sent."""
    row = {"provider": make_provider(slug=f"of-{str(job.id)[:8]}"), "fence": 1, "request_key": f"{job.id}.1", **fields}
    return RemoteRequest.objects.create(job=job, deadline_at=job.created_at, price_per_image=0, **row)


@contextmanager
def remote_worker(fake: FakeProvider) -> Iterator[RemoteWorker]:
    """A worker without its heartbeat: tests that need it start it."""
    worker = RemoteWorker(outgoing.Client(local=[fake.place]))
    yield worker
    worker.stop()


def run(worker: RemoteWorker, ticks: int = 1) -> None:
    """What a tick does, on this thread and its connection."""
    for _ in range(ticks):
        worker.claim()
        for request in requests.take_due(50):
            worker.work_on(request)


def run_threads(*workers: RemoteWorker, ticks: int) -> None:
    """The real thing: needs real commits."""
    for _ in range(ticks):
        for worker in workers:
            worker.tick()
        for worker in workers:
            worker.wait()


def hook(provider: Provider) -> str:
    return reverse("api:provider_webhook", args=[provider.id])


def lose_the_lease(job: Job) -> None:
    """As if every remote worker had been away for a minute."""
    Job.objects.filter(pk=job.pk).update(lease_until="2000-01-01T00:00:00Z")
    assert sweeper.recover_lost_jobs() == 1


def fresh(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def states() -> list[str]:
    return list(RemoteRequest.objects.order_by("created_at", "fence").values_list("state", flat=True))
