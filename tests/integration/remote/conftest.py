"""A provider that answers over real HTTP, a worker that may reach it, somebody with credits."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache

from accounts.models import User
from generation.models import Job, Provider
from generation.remote.work import RemoteWorker
from tests.factories import make_job, make_user
from tests.fake_provider import FakeProvider
from tests.remote import configure, make_provider, remote_worker, run


@pytest.fixture(autouse=True)
def configured(catalogue: None, bell: list[str], settings: Any) -> None:
    configure(settings)
    cache.clear()


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture
def worker(fake: FakeProvider) -> Iterator[RemoteWorker]:
    with remote_worker(fake) as made:
        yield made


@pytest.fixture
def user() -> User:
    return make_user(credits=100)


@pytest.fixture
def provider(fake: FakeProvider) -> Provider:
    """One that cannot be asked: its answers come by webhook."""
    return make_provider(fake, status_url="")


@pytest.fixture
def job(worker: RemoteWorker, provider: Provider, user: User) -> Job:
    """Posted, and waiting for its webhook."""
    made = make_job(user)
    run(worker)
    return made
