"""What a team can spend, and what something would take from it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import F, Min, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, JSONObject, Now

from accounts.models import Team
from credits import plans
from credits.amounts import CENTI
from credits.models import Grant, Notice, Subscription, Wallet
from credits.pricing import Quote

NOTICES_MAX = 3  # on a page
IN_FORCE = Q(grants__effective_at__lte=Now()) & (Q(grants__expires_at=None) | Q(grants__expires_at__gt=Now()))
CREDITS = IN_FORCE & Q(grants__unit=Grant.Unit.CREDIT)
IMAGES = IN_FORCE & Q(grants__unit=Grant.Unit.IMAGE, grants__available_centi__gt=0)


@dataclass(frozen=True, slots=True)
class Balance:
    """What a team can spend now, what its running jobs have set aside, and what keeps it from spending.

    Hundredths of a credit.
    """

    available_centi: int = 0
    held_centi: int = 0
    debt_centi: int = 0
    frozen_reason: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """What every page shows: the balance, and notices nobody has dismissed, newest first."""

    balance: Balance
    notices: list[dict[str, Any]]  # id, text


@dataclass(frozen=True, slots=True)
class Summary:
    """The five figures about a team's credits. Amounts in hundredths of a credit."""

    available_credits: int  # bonus included
    reserved_credits: int
    bonus_credits: int
    total_allocated: int  # granted by all grants that are in force now, whatever is left of them
    next_replenishment_at: datetime | None


@dataclass(frozen=True, slots=True)
class Preview:
    """How a team would pay a quote at this moment."""

    count: int
    pass_images: int  # so many of them a running pass pays
    pass_name: str
    credits_centi: int  # for the rest
    available_centi: int
    problem: str  # code of the refusal it would get; empty: it can pay

    @property
    def affordable(self) -> bool:
        return not self.problem

    @property
    def credit_images(self) -> int:
        return self.count - self.pass_images


def balance_of(team: Team) -> Balance:
    """The balance in one statement. Grants that have ended do not count, swept or not; nor do images of passes."""
    row = _balances(team).first()
    return _balance(row) if row else Balance()


def header_of(team: Team) -> Header:
    """Balance and notices together, in one statement: every page asks for them."""
    unseen = Notice.objects.filter(wallet=OuterRef("pk"), seen_at=None).order_by("-created_at", "-pk")
    texts = ArraySubquery(unseen.values(notice=JSONObject(id="pk", text="text"))[:NOTICES_MAX])
    row = _balances(team).annotate(unseen=texts).first()
    return Header(_balance(row), row["unseen"]) if row else Header(Balance(), [])


def summary_of(team: Team) -> Summary:
    """The five figures, in two statements.

    `total_allocated` is what all grants that are in force now gave: the credits of this month's plan, and every
    bonus, purchase and adjustment that has not ended. `next_replenishment_at` is when the next month of the running
    subscription begins; None without one, and where none will follow.
    """
    row = (
        _balances(team)
        .annotate(
            bonus=_sum("available_centi", CREDITS & Q(grants__source=Grant.Source.BONUS)),
            granted=_sum("granted_centi", CREDITS),
        )
        .first()
    )
    if row is None:
        return Summary(0, 0, 0, 0, next_replenishment_of(team))
    return Summary(row["available"], row["held_centi"], row["bonus"], row["granted"], next_replenishment_of(team))


def next_replenishment_of(team: Team) -> datetime | None:
    """When the next month of a team's running subscription begins and brings credits; None when none will."""
    subscription = Subscription.objects.filter(team=team).select_related("plan").annotate(moment=Now()).first()
    if subscription is None or not subscription.plan.monthly_centi:
        return None
    period = plans.period_of(subscription, subscription.moment)
    if period is None or (subscription.ends_at and subscription.ends_at <= period.ends_at):
        return None
    return period.ends_at


def preview(team: Team, quote: Quote) -> Preview:
    """How a team would pay a quote now: as `ledger.reserve` would, but without a lock, in one statement.

    A promise to nobody: whoever reserves a moment later hears from the ledger.
    """
    balances = _balances(team)
    if quote.pass_side_px is not None:
        covered = IMAGES & Q(grants__covers_px__gte=quote.pass_side_px)
        balances = balances.annotate(
            images=_sum("available_centi", covered), name=Min("grants__of_pass__name", filter=covered)
        )
    row = balances.first()
    if row is None:
        return Preview(quote.count, 0, "", quote.total_centi, 0, "insufficient_credits")
    images = min(quote.count, row.get("images", 0) // CENTI)
    price = quote.unit_centi * (quote.count - images)
    name = (row["name"] or "") if images else ""
    return Preview(quote.count, images, name, price, row["available"], _problem(_balance(row), price))


def _problem(balance: Balance, price_centi: int) -> str:
    if balance.frozen_reason or balance.debt_centi:
        return "wallet_frozen"
    return "insufficient_credits" if balance.available_centi < price_centi else ""


def _balances(team: Team) -> QuerySet[Wallet, dict[str, Any]]:
    facts = ("held_centi", "debt_centi", "frozen_reason")
    wallets = Wallet.objects.filter(team=team).order_by("pk")
    balances: QuerySet[Wallet, dict[str, Any]] = wallets.values(*facts).annotate(
        wallet=F("pk"), available=_sum("available_centi", CREDITS)
    )
    return balances


def _balance(row: dict[str, Any]) -> Balance:
    return Balance(row["available"], row["held_centi"], row["debt_centi"], row["frozen_reason"])


def _sum(bucket: str, which: Q) -> Coalesce:
    return Coalesce(Sum(f"grants__{bucket}", filter=which), 0)
