"""The ledger against a model of itself: any order of acts, any replay, any day, and the same buckets and refusals.

Time is a number of days: the clock that the ledger asks is a function of this test, see `stop_the_clock`.
"""

import os
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from math import inf

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import Team
from credits import ledger
from credits.audit import find_drift
from credits.models import Entry, Grant, Hold, Uncollected, Wallet
from credits.pricing import Quote
from credits.queries import balance_of
from tenkaigen.errors import DomainError
from tests.properties.ledger_model import Model, Refused

STEPS_MIN = 20_000 if os.environ.get("FAULTS") == "long" else 1_000
STEPS_EACH = 50
EPOCH = datetime(2030, 1, 31, tzinfo=UTC)
BY = {"actor": "staff:ana@example.com", "reason": "because"}
# Found before pg_catalog, so that everything that asks for the time is told the day of the model.
CLOCK = """
CREATE SCHEMA clock;
CREATE FUNCTION clock.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT current_setting('clock.moment')::timestamptz $$;
CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT current_setting('clock.moment')::timestamptz $$;
SET LOCAL search_path = clock, public, pg_catalog;
"""
amounts = st.one_of(st.integers(1, 40), st.integers(1, 4).map(lambda n: 100 * n), st.integers(1, 5_000))
numbers = st.integers(0, 7)


def moment(day: float) -> datetime | None:
    return None if day == inf else EPOCH + timedelta(days=day)


class LedgerMachine(RuleBasedStateMachine):
    steps = 0

    @initialize()
    def begin(self) -> None:
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.team = Team.objects.create(name="Team")
        self.model, self.seen = Model(), {}
        self.ids: dict[int, int] = {}  # of grants by their number in the model
        self.show_day()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    def show_day(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('clock.moment', %s, true)", [moment(self.model.day).isoformat()])

    def both(self, expected, act, **facts):
        """Do the same to the model and to the ledger; the same answer, or the same refusal and nothing changed."""
        LedgerMachine.steps += 1
        before = deepcopy(self.model)
        try:
            answer = expected(self.model)
        except Refused as refusal:
            self.model, answer = before, str(refusal)
        given, refused = None, None
        try:
            with transaction.atomic():
                given = act(team_id=self.team.pk, **facts)
        except DomainError as refusal:
            refused = type(refusal).__name__
        assert refused == (answer if isinstance(answer, str) else None)
        if refused:
            return None
        for made in self.model.grants[len(self.ids) :]:
            self.ids[made.number] = Grant.objects.get(source=made.source, source_ref=self.ref(made.reference)).pk
        return answer, given

    def ref(self, reference: str) -> str:
        """References stand for ever and for one team."""
        head, _, tail = reference.rpartition(":") if reference.startswith("reinstate:") else ("", "", reference)
        return f"{head}:{self.team.pk}-{tail}" if head else f"{self.team.pk}-{tail}"

    @rule(
        number=numbers, amount=amounts, source=st.sampled_from(["plan", "bonus", "purchase", "adjustment"]),
        begins=st.sampled_from([0, 0, 0, 4]), lasts=st.sampled_from([inf, 3, 3, 20]),
    )  # fmt: skip
    def grant(self, number, amount, source, begins, lasts):
        begins += self.model.day
        self.give(f"{source}-{number}", source, amount, begins, begins + lasts, None)

    @rule(number=numbers, images=st.integers(1, 6), covers_px=st.sampled_from([512, 1024]))
    def start_a_pass(self, number, images, covers_px):
        self.give(f"pass-{number}", "pass", 100 * images, self.model.day, self.model.day + 1, covers_px)

    def give(self, reference, source, amount, begins, ends, covers_px):
        self.both(
            lambda model: model.grant(reference, source, amount, begins, ends, covers_px) or True,
            ledger.grant, source=source, source_ref=self.ref(reference), amount_centi=amount,
            effective_at=moment(begins), expires_at=moment(ends), covers_px=covers_px, **BY,
        )  # fmt: skip

    @rule(
        number=numbers, unit=amounts, count=st.integers(1, 4), side_px=st.sampled_from([None, 512, 768]),
        at_most=st.one_of(st.none(), st.none(), st.integers(0, 2_000)),
    )  # fmt: skip
    def reserve(self, number, unit, count, side_px, at_most):
        self.hold(f"job-{number}", unit, count, side_px, at_most)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def reserve_again(self, data):
        reference = data.draw(st.sampled_from(sorted(self.model.holds)))
        first = self.model.holds[reference]
        self.hold(reference, first.unit, first.count, first.side_px, None)

    def hold(self, reference, unit, count, side_px, at_most):
        facts = {"width": side_px, "height": 256, "quality": "standard"} if side_px else {}
        done = self.both(
            lambda model: model.reserve(reference, unit, count, side_px, at_most),
            ledger.reserve, reference=self.ref(reference), at_most_centi=at_most,
            quote=Quote(unit, count, facts=facts),
        )  # fmt: skip
        if done:
            made, hold = done
            assert (hold.amount_centi, hold.pass_images) == (made.amount, made.images)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def settle(self, data):
        reference = data.draw(st.sampled_from(sorted(self.model.holds)))
        delivered = data.draw(st.integers(0, self.model.holds[reference].count))
        expected, receipt = self.both(
            lambda model: model.settle(reference, delivered),
            ledger.settle, reference=self.ref(reference), delivered=delivered,
        )  # fmt: skip
        assert expected == (
            receipt.charged_centi, receipt.released_centi, receipt.pass_images, receipt.is_new,
            receipt.uncollected_centi,
        )  # fmt: skip

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def lapse(self, data):
        reference = data.draw(st.sampled_from(sorted(self.model.holds)))
        expected, given = self.both(
            lambda model: (model.end(model.holds[reference], "expired", 0),),
            ledger.lapse, reference=self.ref(reference),
        )  # fmt: skip
        assert expected == (given,)

    @rule()
    def expire(self):
        expected, given = self.both(lambda model: (model.expire(),), ledger.expire)
        assert expected == (given,)

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data(), number=numbers, amount=amounts)
    def revoke(self, data, number, amount):
        place = data.draw(st.integers(0, len(self.model.grants) - 1))
        done = self.both(
            lambda model: model.revoke(model.grants[place], amount, f"re-{number}"),
            ledger.revoke, grant_id=self.ids[place], amount_centi=amount, reference=self.ref(f"re-{number}"), **BY,
        )  # fmt: skip
        if done:
            assert done[0] == (done[1].revoked_centi, done[1].owed_centi)

    @precondition(lambda self: self.model.clawbacks)
    @rule(data=st.data())
    def reinstate(self, data):
        reference = data.draw(st.sampled_from(sorted(self.model.clawbacks)))
        self.both(
            lambda model: model.reinstate(reference) or True, ledger.reinstate, reference=self.ref(reference), **BY
        )

    @rule(number=numbers, amount=amounts)
    def take(self, number, amount):
        done = self.both(
            lambda model: (model.take(amount, f"by-hand-{number}"),),
            ledger.take, amount_centi=amount, reference=self.ref(f"by-hand-{number}"), **BY,
        )  # fmt: skip
        if done:
            assert done[0] == (done[1],)

    @rule(reason=st.sampled_from(["", "", "a disputed payment"]))
    def freeze(self, reason):
        self.model.frozen = reason
        if reason:
            ledger.freeze(team_id=self.team.pk, reason=reason)
        else:
            ledger.unfreeze(team_id=self.team.pk)

    @rule(days=st.sampled_from([1, 1, 2, 4, 30, -1]))
    def time_passes(self, days):
        """Or jumps back, as clocks do."""
        self.model.day += days
        self.show_day()

    @invariant()
    def it_is_what_the_model_says(self):
        if not hasattr(self, "ids"):
            return
        grants = {g.pk: g for g in Grant.objects.filter(wallet__team=self.team)}
        for expected in self.model.grants:
            found = grants.pop(self.ids[expected.number])
            assert (
                found.granted_centi, found.available_centi, found.held_centi, found.spent_centi, found.expired_centi,
                found.revoked_centi,
            ) == (
                expected.granted, expected.available, expected.held, expected.spent, expected.expired,
                expected.revoked,
            ), expected  # fmt: skip
        assert not grants
        holds = Hold.objects.filter(wallet__team=self.team)
        assert {
            hold.reference: (hold.state, hold.charged_centi, hold.released_centi, hold.pass_images_charged)
            for hold in holds
        } == {self.ref(name): (hold.state, *hold.receipt) for name, hold in self.model.holds.items()}
        late = sum(owed.amount_centi for owed in Uncollected.objects.filter(hold__wallet__team=self.team))
        assert late == sum(hold.uncollected for hold in self.model.holds.values())

    @invariant()
    def it_agrees_with_itself(self):
        if not hasattr(self, "ids"):
            return
        assert find_drift() == []
        wallet = Wallet.objects.filter(team=self.team).first()
        assert (wallet.debt_centi if wallet else 0) == self.model.debt
        assert balance_of(self.team).available_centi == self.model.credits()
        # What was written stays as it was written.
        written = dict(Entry.objects.filter(wallet__team=self.team).values_list("seq", "amount_centi"))
        assert self.seen.items() <= written.items()
        self.seen = written


def stop_the_clock() -> None:
    with connection.cursor() as cursor:
        cursor.execute(CLOCK)


@pytest.mark.django_db
def test_the_ledger_does_what_its_model_does():
    stop_the_clock()
    LedgerMachine.steps = 0
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=STEPS_MIN * 9 // 4 // STEPS_EACH,  # some end early, and not every rule is an act
            stateful_step_count=STEPS_EACH,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{LedgerMachine.steps} steps")
    assert LedgerMachine.steps >= STEPS_MIN
