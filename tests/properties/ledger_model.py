"""What the ledger should do, without a database: grants in a list, holds and clawbacks by name, days for time."""

from dataclasses import dataclass, field
from math import inf

RANKS = {"pass": 10, "plan": 20, "bonus": 30, "adjustment": 35, "purchase": 40}


class Refused(Exception):
    """What the ledger refuses with the error of this name."""


@dataclass
class G:
    """A grant and its buckets."""

    reference: str
    source: str
    granted: int
    begins: int
    ends: float
    covers_px: int | None
    number: int
    available: int = 0
    held: int = 0
    spent: int = 0
    expired: int = 0
    revoked: int = 0

    @property
    def burns_at(self) -> tuple:
        return (self.covers_px is None, self.source != "pass", self.ends, RANKS[self.source], self.number)


@dataclass
class H:
    """A hold, and what each grant gives to it."""

    unit: int
    count: int
    side_px: int | None
    images: int
    parts: list[tuple[G, int]]
    state: str = "pending"
    charged: int = 0
    images_charged: int = 0
    uncollected: int = 0
    released_after_end: int = 0

    @property
    def amount(self) -> int:
        return self.unit * (self.count - self.images)

    @property
    def receipt(self) -> tuple[int, int, int]:
        return self.charged, self.amount - self.charged if self.state != "pending" else 0, self.images_charged


@dataclass
class C:
    """A clawback of one grant."""

    grant: G
    revoked: int
    owed: int
    is_undone: bool = False


@dataclass
class Model:
    """One team's ledger."""

    day: int = 0
    debt: int = 0
    repaid: int = 0
    frozen: str = ""
    grants: list[G] = field(default_factory=list)
    holds: dict[str, H] = field(default_factory=dict)
    clawbacks: dict[str, C] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)

    def spendable(self, side_px: int | None) -> list[G]:
        alive = [g for g in self.grants if g.available and g.begins <= self.day < g.ends]
        covered = [g for g in alive if g.covers_px is None or (side_px is not None and g.covers_px >= side_px)]
        return sorted(covered, key=lambda g: g.burns_at)

    def credits(self) -> int:
        return sum(g.available for g in self.spendable(None))

    def grant(self, reference, source, amount, begins, ends, covers_px) -> None:
        for first in self.grants:
            if (first.source, first.reference) == (source, reference):
                if first.granted != amount:
                    raise Refused("ReferenceTaken")
                return
        number = len(self.grants)
        self.grants.append(G(reference, source, amount, begins, ends, covers_px, number, available=amount))
        self.repay()

    def repay(self) -> None:
        for g, amount in burn(self.spendable(None), self.debt):
            g.available, g.spent, self.debt = g.available - amount, g.spent + amount, self.debt - amount
            self.repaid += amount

    def reserve(self, reference, unit, count, side_px=None, at_most=None) -> H:
        self.repay()
        grants = self.spendable(side_px)
        of_passes = burn([g for g in grants if g.covers_px], 100 * count)
        images = sum(amount for _, amount in of_passes) // 100
        price = unit * (count - images)
        of_credits = burn([g for g in grants if not g.covers_px], price)
        if first := self.holds.get(reference):
            if (first.amount, first.count) != (unit * (count - first.images), count):
                raise Refused("ReferenceTaken")
            if first.state != "pending":
                raise Refused("AlreadySettled")
            return first
        if self.frozen or self.debt:
            raise Refused("WalletFrozen")
        if sum(amount for _, amount in of_credits) < price:
            raise Refused("InsufficientCredits")
        if at_most is not None and price > at_most:
            raise Refused("PriceChanged")
        for g, amount in of_passes + of_credits:
            g.available, g.held = g.available - amount, g.held + amount
        return self.holds.setdefault(reference, H(unit, count, side_px, images, of_passes + of_credits))

    def end(self, hold: H, state: str, delivered: int) -> bool:
        if hold.state != "pending":
            return False
        hold.state, hold.images_charged = state, min(delivered, hold.images)
        hold.charged = hold.unit * (delivered - hold.images_charged)
        left = {True: hold.charged, False: 100 * hold.images_charged}
        for g, amount in hold.parts:
            paid = min(amount, left[g.covers_px is None])
            left[g.covers_px is None] -= paid
            g.held, g.spent = g.held - amount, g.spent + paid
            if g.ends <= self.day:
                g.expired += amount - paid
                hold.released_after_end += amount - paid
            else:
                g.available += amount - paid
        self.repay()
        return True

    def settle(self, reference, delivered) -> tuple:
        hold = self.holds[reference]
        is_new = self.end(hold, "settled", delivered)
        if is_new or hold.state != "expired" or not delivered:
            return (*hold.receipt, is_new, 0)
        late = f"{reference}:late"
        if late in self.holds:
            return (*self.holds[late].receipt, False, 0)
        if hold.uncollected:
            return (0, hold.amount, 0, False, hold.uncollected)
        try:
            self.reserve(late, hold.unit, delivered, hold.side_px)
        except Refused:
            hold.uncollected = hold.unit * delivered
            return (0, hold.amount, 0, True, hold.uncollected)
        return self.settle(late, delivered)

    def expire(self) -> int:
        ended = [g for g in self.grants if g.ends <= self.day]
        written_off = sum(g.available for g in ended)
        for g in ended:
            g.available, g.expired = 0, g.expired + g.available
        return written_off

    def revoke(self, g: G, amount, reference) -> tuple[int, int]:
        if first := self.clawbacks.get(reference):
            if first.grant is not g:
                raise Refused("ReferenceTaken")
            return first.revoked, first.owed
        if g.covers_px and amount % 100:
            raise Refused("InvalidAmount")
        owed_before = sum(c.owed for c in self.clawbacks.values() if c.grant is g and not c.is_undone)
        used = 0 if g.covers_px else g.spent + g.held - owed_before
        made = C(g, min(amount, g.available), 0)
        made.owed = min(amount - made.revoked, used)
        g.available, g.revoked, self.debt = g.available - made.revoked, g.revoked + made.revoked, self.debt + made.owed
        self.clawbacks[reference] = made
        self.repay()
        return made.revoked, made.owed

    def reinstate(self, reference) -> None:
        undone = self.clawbacks[reference]
        if undone.is_undone:
            return
        undone.is_undone = True
        forgiven, g = min(undone.owed, self.debt), undone.grant
        self.debt -= forgiven
        anew = undone.owed - forgiven
        if g.ends <= self.day:
            anew += undone.revoked
        else:
            g.available, g.revoked = g.available + undone.revoked, g.revoked - undone.revoked
        if anew and not g.covers_px:
            self.grant(f"reinstate:{reference}", "adjustment", anew, self.day, inf, None)
        self.repay()

    def take(self, amount, reference) -> int:
        if reference in self.taken:
            if self.taken[reference] != amount:
                raise Refused("ReferenceTaken")
            return 0
        takes = burn(self.spendable(None), amount)
        if sum(part for _, part in takes) < amount:
            raise Refused("InsufficientCredits")
        for g, part in takes:
            g.available, g.revoked = g.available - part, g.revoked + part
        self.taken[reference] = amount
        return amount


def burn(grants: list[G], amount: int) -> list[tuple[G, int]]:
    takes = []
    for g in grants:
        if taken := min(amount, g.available):
            takes.append((g, taken))
            amount -= taken
    return takes
