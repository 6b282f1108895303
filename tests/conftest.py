"""What every test may ask for."""

from collections.abc import Iterator

import pytest

from generation import events, seed, tasks
from generation.worker import Worker
from tests.fake_engine import FakeEngine


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
    monkeypatch.setattr(tasks, "ring_now", lambda kind="image": rings.append("ring"))
    return rings


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
