"""The ledger against a thirty-line model of itself: any order of calls, any replay, the same balances and refusals."""

import os
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from credits import ledger
from credits.audit import find_drift
from credits.errors import AlreadySettled, InsufficientCredits, ReferenceTaken
from credits.models import Grant
from credits.pricing import Quote
from credits.queries import balance_of
from tests.factories import make_user, team_of

STEPS, EXAMPLES = (50, 400) if os.environ.get("FAULTS") == "long" else (25, 40)
SOURCES = ["plan", "bonus", "purchase"]


class Model:
    """What the ledger should do, without a database: grants in lists, holds in a dict."""

    def __init__(self) -> None:
        self.grants: list[dict] = []
        self.holds: dict[str, dict] = {}

    def burn_order(self) -> list[dict]:
        alive = [grant for grant in self.grants if not grant["ended"] and grant["available"]]
        return sorted(alive, key=lambda g: (g["days"] or 9999, SOURCES.index(g["source"]), g["number"]))

    def reserve(self, reference: str, unit: int, count: int) -> str:
        if hold := self.holds.get(reference):
            if hold["unit"] * hold["count"] != unit * count:
                return "taken"
            return "settled" if hold["is_settled"] else "ok"
        need, parts = unit * count, []
        if sum(grant["available"] for grant in self.burn_order()) < need:
            return "insufficient"
        for grant in self.burn_order():
            take = min(need, grant["available"])
            grant["available"] -= take
            need -= take
            parts += [(grant, take)] if take else []
        self.holds[reference] = {"unit": unit, "count": count, "parts": parts, "is_settled": False}
        return "ok"

    def settle(self, reference: str, delivered: int) -> None:
        hold = self.holds[reference]
        if hold["is_settled"]:
            return
        hold["is_settled"], charge = True, hold["unit"] * delivered
        for grant, amount in hold["parts"]:
            charged = min(charge, amount)
            charge -= charged
            if not grant["ended"]:
                grant["available"] += amount - charged


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.team, self.model, self.began_at = team_of(make_user()), Model(), timezone.now()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    @rule(amount=st.integers(1, 5000), source=st.sampled_from(SOURCES), days=st.sampled_from([None, 3, 20]))
    def grant(self, amount, source, days):
        number = len(self.model.grants)
        facts = {"team_id": self.team.pk, "amount_centi": amount, "source": source, "source_ref": f"ref-{number}"}
        ends = self.began_at + timedelta(days=days) if days else None
        made = [ledger.grant(**facts, expires_at=ends) for _ in range(2)]  # every grant is delivered twice
        assert made[0].pk == made[1].pk
        self.model.grants.append(
            {"number": number, "pk": made[0].pk, "source": source, "days": days, "available": amount, "ended": False}
        )

    @rule(number=st.integers(0, 6), unit=st.integers(1, 900), count=st.integers(1, 4))
    def reserve(self, number, unit, count):
        reference = f"{self.team.pk}-{number}"
        expected = self.model.reserve(reference, unit, count)
        quote = Quote(unit_centi=unit, count=count)
        refusals = {InsufficientCredits: "insufficient", ReferenceTaken: "taken", AlreadySettled: "settled"}
        try:
            ledger.reserve(team_id=self.team.pk, quote=quote, reference=reference)
            answer = "ok"
        except tuple(refusals) as refusal:
            answer = refusals[type(refusal)]
        assert answer == expected

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def settle(self, data):
        reference = data.draw(st.sampled_from(sorted(self.model.holds)))
        delivered = data.draw(st.integers(0, self.model.holds[reference]["count"]))
        was_settled = self.model.holds[reference]["is_settled"]
        receipt = ledger.settle(team_id=self.team.pk, reference=reference, delivered=delivered)
        assert receipt.is_new is not was_settled
        self.model.settle(reference, delivered)

    @precondition(lambda self: any(not grant["ended"] for grant in self.model.grants))
    @rule(data=st.data())
    def time_runs_out(self, data):
        grant = data.draw(st.sampled_from([grant for grant in self.model.grants if not grant["ended"]]))
        past = self.began_at - timedelta(days=1)
        Grant.objects.filter(pk=grant["pk"]).update(effective_at=past - timedelta(days=1), expires_at=past)
        grant["ended"] = True

    @invariant()
    def balances_agree(self):
        balance = balance_of(self.team)
        alive = [grant["available"] for grant in self.model.grants if not grant["ended"]]
        held = [h["unit"] * h["count"] for h in self.model.holds.values() if not h["is_settled"]]
        assert (balance.available_centi, balance.held_centi) == (sum(alive), sum(held))
        assert find_drift() == []


@pytest.mark.django_db
def test_the_ledger_does_what_its_model_does():
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
