"""Many programs with one key: together they spend no more than its cap."""

from collections.abc import Callable
from threading import Barrier

import pytest
from django.utils import timezone

from accounts import services as accounts
from accounts.models import ApiKey
from generation import key_caps, services, transitions
from generation.errors import KeyCapReached
from generation.models import Job
from tenkaigen.months import month_of
from tests.factories import make_params, make_user, team_of

pytestmark = pytest.mark.usefixtures("catalogue", "bell")
PRICE = 600


@pytest.fixture
def key() -> ApiKey:
    user = make_user(credits=100)
    return accounts.create_api_key(team=team_of(user), user=user, name="race", monthly_cap_centi=PRICE)[0]


def submitting(key: ApiKey, number: int) -> Callable[[], Job]:
    return lambda: services.submit_job(
        team=key.team, user=key.user, params=make_params(), request_key=f"race {number}", api_key=key
    )


def spent(key: ApiKey) -> int:
    return key_caps.spent_by([key.pk], *month_of(timezone.now())).get(key.pk, 0)


def test_parallel_submits_on_one_key_never_overrun_its_cap(key, run_together):
    results = run_together([submitting(key, number) for number in range(6)])
    assert sum(isinstance(result, Job) for result in results) == 1
    assert sum(isinstance(result, KeyCapReached) for result in results) == 5
    assert spent(key) == PRICE


def test_counted_before_the_lock_two_overrun_it(key, run_together, monkeypatch):
    """The twin: the same count, made before the reserve has locked the wallet."""
    reserve, together = transitions.ledger.reserve, Barrier(2)

    def count_too_early(**asked):
        before = spent(key)
        together.wait(timeout=30)
        assert before + PRICE <= key.monthly_cap_centi
        return reserve(**asked)

    monkeypatch.setattr(transitions.ledger, "reserve", count_too_early)
    monkeypatch.setattr(key_caps, "refuse_overspending", lambda job, held_centi: None)
    assert [type(result) for result in run_together([submitting(key, number) for number in range(2)])] == [Job, Job]
    assert spent(key) == 2 * PRICE
