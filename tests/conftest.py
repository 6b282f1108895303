"""What every test may ask for."""

import os
import time
from collections.abc import Iterator

import pytest
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis

from generation import events, seed
from generation.worker import Worker
from tests import migrated
from tests.billing import Shop, switch_on
from tests.fake_engine import FakeEngine
from tests.fake_stripe import FakeStripe, running

# What an example takes says something about the machine. The rest is as it was: where CI is set, the same examples.
hypothesis.register_profile(
    "patient",
    hypothesis.default,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
hypothesis.load_profile("patient")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """The test database is a copy of one that has been migrated already."""
    connection.settings_dict["TEST"]["TEMPLATE"] = migrated.template(os.environ["DATABASE_URL"])


@pytest.fixture(autouse=True)
def quiet_redis() -> Iterator[None]:
    """Every test begins with an empty Redis database of its own run."""
    events._broken_until = 0.0
    events.client().flushdb()
    return


@pytest.fixture
def catalogue(db: None) -> None:
    """Styles, products and models, as after `seed_catalogue`."""
    seed.seed()


@pytest.fixture
def bell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every ring of the bell, instead of a message to the broker."""
    rings: list[str] = []
    monkeypatch.setattr("generation.bell.ring_now", lambda kind="image": rings.append("ring"))
    return rings


@pytest.fixture
def stripe(settings: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStripe]:
    """A fake Stripe over HTTP whose clock stands still, and this server pointed at it."""
    with running(now=int(time.time())) as fake:
        switch_on(fake, settings, monkeypatch)
        yield fake


@pytest.fixture
def shop(stripe: FakeStripe, db: None) -> Shop:
    """Everything that is sold, at the fake Stripe."""
    return Shop(stripe)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def worker(engine: FakeEngine) -> Iterator[Worker]:
    """A GPU worker with the fake engine. Its threads have connections of their own: draining needs real commits."""
    made = Worker(engine, models=["starter"])
    made.start()
    yield made
    made.stop()
