"""The ledger against a model of itself: any order of acts, any replay, any day, and the same buckets and refusals.

Time is a number of days: the clock that the ledger asks is a function of this test, see `stop_the_clock`.
"""

import os
from collections import Counter
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import count
from math import inf

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, seed, settings
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
GIVEN = st.sampled_from([1, 60, 100, 250, 800, 5_000])
UNITS = st.sampled_from([1, 7, 40, 100, 300])
TAKEN = st.sampled_from([1, 30, 100, 200, 6_000])
NUMBERS = st.sampled_from([None, None, None, 0, 1])  # None: one that was never used
SIDES = st.sampled_from([None, 512, 768])
SOURCES = st.sampled_from(["plan", "bonus", "purchase", "adjustment"])
# What the plays have to come by, or they have proved little; they go on until they have.
MUST = {
    "paid by pass and credits", "paid by several grants", "released after its end", "charged late", "uncollected",
    "owed", "repaid", "reinstated", "expired", "InsufficientCredits", "PriceChanged", "WalletFrozen",
    "ReferenceTaken", "AlreadySettled", "InvalidAmount",
}  # fmt: skip


def moment(day: float) -> datetime | None:
    return None if day == inf else EPOCH + timedelta(days=day)


class LedgerMachine(RuleBasedStateMachine):
    steps = 0
    reached: Counter[str] = Counter()

    @initialize(amount=st.sampled_from([250, 800, 5_000]), images=st.integers(0, 3))
    def begin(self, amount, images) -> None:
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.team = Team.objects.create(name="Team")
        self.model, self.seen = Model(), {}
        self.ids: dict[int, int] = {}  # of grants by their number in the model
        self.show_day()
        self.give("first", "purchase", amount, 0, inf, None)
        self.give("second", "plan", 250, 0, 3, None)
        if images:
            self.give("first", "pass", 100 * images, 0, 2, 512)

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
            self.reached[refused] += 1
            return None
        self.reached["repaid"] += self.model.repaid > before.repaid
        for made in self.model.grants[len(self.ids) :]:
            self.ids[made.number] = Grant.objects.get(source=made.source, source_ref=self.ref(made.reference)).pk
        return answer, given

    def fresh(self, number: int | None) -> int:
        return self.steps + 1_000 if number is None else number

    def ref(self, reference: str) -> str:
        """References stand for ever and for one team."""
        head, _, tail = reference.rpartition(":") if reference.startswith("reinstate:") else ("", "", reference)
        return f"{head}:{self.team.pk}-{tail}" if head else f"{self.team.pk}-{tail}"

    @rule(
        number=NUMBERS, amount=GIVEN, source=SOURCES, begins=st.sampled_from([0, 0, 0, 4]),
        lasts=st.sampled_from([inf, 1, 3, 20]),
    )  # fmt: skip
    def grant(self, number, amount, source, begins, lasts):
        begins += self.model.day
        self.give(f"{source}-{self.fresh(number)}", source, amount, begins, begins + lasts, None)

    @rule(number=NUMBERS, images=st.integers(1, 6), covers_px=st.sampled_from([512, 1024]))
    def start_a_pass(self, number, images, covers_px):
        self.give(f"pass-{self.fresh(number)}", "pass", 100 * images, self.model.day, self.model.day + 2, covers_px)

    def give(self, reference, source, amount, begins, ends, covers_px):
        self.both(
            lambda model: model.grant(reference, source, amount, begins, ends, covers_px) or True,
            ledger.grant, source=source, source_ref=self.ref(reference), amount_centi=amount,
            effective_at=moment(begins), expires_at=moment(ends), covers_px=covers_px, **BY,
        )  # fmt: skip

    @rule(
        unit=UNITS, count=st.integers(1, 4), side_px=SIDES,
        at_most=st.one_of(st.none(), st.integers(0, 100)),
    )  # fmt: skip
    def reserve(self, unit, count, side_px, at_most):
        self.hold(f"job-{len(self.model.holds)}", unit, count, side_px, at_most)

    @rule(unit=UNITS, count=st.integers(1, 4))
    def a_price_that_rose(self, unit, count):
        """The person was shown less than it costs, then says yes to what it costs."""
        reference = f"job-{len(self.model.holds)}"
        self.hold(reference, unit, count, None, unit * count - 1)
        self.hold(reference, unit, count, None, unit * count)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data(), more=st.sampled_from([0, 0, 1]), side_px=SIDES)
    def reserve_again(self, data, more, side_px):
        reference = data.draw(st.sampled_from(sorted(self.model.holds)))
        first = self.model.holds[reference]
        self.hold(reference, first.unit + more, first.count, side_px, None)

    @rule(unit=UNITS, count=st.integers(1, 4), side_px=SIDES, days=st.sampled_from([0, 1, 3]), data=st.data())
    def a_job(self, unit, count, side_px, days, data):
        """A whole one, because plays that come to an end by chance are rare."""
        reference = f"job-{len(self.model.holds)}"
        if self.hold(reference, unit, count, side_px, None):
            self.time_passes(days)
            self.deliver(reference, data.draw(st.integers(0, count)))

    @rule(unit=UNITS, count=st.integers(1, 4))
    def a_job_that_outlives_its_grant(self, unit, count):
        """What comes back to a grant that has ended does not come back to life."""
        reference = f"job-{len(self.model.holds)}"
        self.give(f"plan-{self.fresh(None)}", "plan", unit * count, self.model.day, self.model.day + 0.5, None)
        if self.hold(reference, unit, count, None, None):
            self.time_passes(1)
            self.deliver(reference, count - 1)

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
            self.reached["paid by pass and credits"] += 0 < made.images < count
            self.reached["paid by several grants"] += len(made.parts) > 1
        return done

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def settle(self, data):
        reference = data.draw(st.sampled_from(sorted(self.model.holds)))
        self.deliver(reference, data.draw(st.integers(0, self.model.holds[reference].count)))

    @rule(unit=UNITS, count=st.integers(1, 4), data=st.data())
    def a_late_job(self, unit, count, data):
        """The sweep was first. What is delivered is charged anew, once, or written down as uncollected."""
        reference = f"job-{len(self.model.holds)}"
        if self.hold(reference, unit, count, None, None):
            self.sweep(reference)
            if data.draw(st.booleans()):
                self.take(amount=max(1, self.model.credits()), number=None)
            for _ in range(2):
                self.deliver(reference, data.draw(st.integers(0, count)))

    def deliver(self, reference, delivered):
        expected, receipt = self.both(
            lambda model: model.settle(reference, delivered),
            ledger.settle, reference=self.ref(reference), delivered=delivered,
        )  # fmt: skip
        assert expected == (
            receipt.charged_centi, receipt.released_centi, receipt.pass_images, receipt.is_new,
            receipt.uncollected_centi,
        )  # fmt: skip
        hold, late = self.model.holds[reference], self.model.holds.get(f"{reference}:late")
        back = hold.released_after_end if receipt.is_new else 0
        self.reached["released after its end"] += back > 0
        self.reached["charged late"] += receipt.is_new and late is not None
        self.reached["uncollected"] += receipt.is_new and receipt.uncollected_centi > 0

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def lapse(self, data):
        self.sweep(data.draw(st.sampled_from(sorted(self.model.holds))))

    def sweep(self, reference):
        expected, given = self.both(
            lambda model: (model.end(model.holds[reference], "expired", 0),),
            ledger.lapse, reference=self.ref(reference),
        )  # fmt: skip
        assert expected == (given,)

    @rule()
    def expire(self):
        expected, given = self.both(lambda model: (model.expire(),), ledger.expire)
        assert expected == (given,)
        self.reached["expired"] += given > 0

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data(), number=NUMBERS, amount=TAKEN)
    def revoke(self, data, number, amount):
        self.take_back(data.draw(st.integers(0, len(self.model.grants) - 1)), amount, f"re-{self.fresh(number)}")

    @rule(unit=UNITS, count=st.integers(1, 4), is_paid_back=st.booleans())
    def a_refunded_job(self, unit, count, is_paid_back):
        """What was spent becomes a debt, and the next grant pays it."""
        reference = f"job-{len(self.model.holds)}"
        if self.hold(reference, unit, count, None, None):
            self.deliver(reference, count)
            self.take_back(self.model.holds[reference].parts[0][0].number, 6_000, f"re-{self.fresh(None)}")
            self.reserve(unit, count, None, None)
            if is_paid_back:
                self.give(f"bonus-{self.fresh(None)}", "bonus", 250, self.model.day, inf, None)

    def take_back(self, place, amount, reference):
        done = self.both(
            lambda model: model.revoke(model.grants[place], amount, reference),
            ledger.revoke, grant_id=self.ids[place], amount_centi=amount, reference=self.ref(reference), **BY,
        )  # fmt: skip
        if done:
            assert done[0] == (done[1].revoked_centi, done[1].owed_centi)
            self.reached["owed"] += done[1].owed_centi > 0

    @precondition(lambda self: self.model.clawbacks)
    @rule(data=st.data())
    def reinstate(self, data):
        reference = data.draw(st.sampled_from(sorted(self.model.clawbacks)))
        self.both(
            lambda model: model.reinstate(reference) or True, ledger.reinstate, reference=self.ref(reference), **BY
        )
        self.reached["reinstated"] += 1

    @rule(number=NUMBERS, amount=TAKEN)
    def take(self, number, amount):
        reference = f"by-hand-{self.fresh(number)}"
        done = self.both(
            lambda model: (model.take(amount, reference),),
            ledger.take, amount_centi=amount, reference=self.ref(reference), **BY,
        )  # fmt: skip
        if done:
            assert done[0] == (done[1],)

    @rule(reason=st.sampled_from(["", "", "", "a disputed payment"]))
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
    LedgerMachine.steps, LedgerMachine.reached = 0, Counter()
    for number in count():
        if LedgerMachine.steps >= STEPS_MIN and not missing():
            break
        # Other plays each time: where CI is set, Hypothesis would play the same ones for ever.
        run_state_machine_as_test(
            seed(number)(LedgerMachine),
            settings=settings(
                max_examples=20,
                stateful_step_count=50,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        assert LedgerMachine.steps < 5 * STEPS_MIN, f"never came by: {missing()}"
    print(f"{LedgerMachine.steps:,} acts: {dict(LedgerMachine.reached)}")


def missing() -> set[str]:
    return {name for name in MUST if not LedgerMachine.reached[name]}
