"""What a job came to: its price, who paid it, and the movements that prove it."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Prefetch

from accounts.models import Team
from credits.models import Entry, Hold, Uncollected
from credits.pricing import Quote

ENTRIES = Prefetch("entries", Entry.objects.select_related("grant__of_pass").order_by("seq"))


@dataclass(frozen=True, slots=True)
class JobReceipt:
    """One job's price and what became of it. A job that ended after its hold has a second one."""

    quote: Quote
    holds: list[Hold]
    uncollected_centi: int = 0  # delivered after the hold had ended, when the wallet could not pay any more

    @property
    def first(self) -> Hold:
        return self.holds[0]

    @property
    def last(self) -> Hold:
        return self.holds[-1]

    @property
    def is_final(self) -> bool:
        return all(hold.state != Hold.State.PENDING for hold in self.holds)

    @property
    def reserved_centi(self) -> int:
        """Credits that were set aside; what a pass covered is not among them."""
        return self.first.amount_centi

    @property
    def charged_centi(self) -> int:
        return sum(hold.charged_centi for hold in self.holds)

    @property
    def released_centi(self) -> int:
        """What came back of what was set aside; 0 while the job is open."""
        # A second hold, without the pass of the first, may have charged more credits than were set aside.
        return max(0, self.reserved_centi - self.charged_centi) if self.is_final else 0

    @property
    def pass_images(self) -> int:
        """Images that a pass was to pay."""
        return self.first.pass_images

    @property
    def pass_images_charged(self) -> int:
        return sum(hold.pass_images_charged for hold in self.holds)

    @property
    def entries(self) -> list[Entry]:
        return sorted((entry for hold in self.holds for entry in hold.entries.all()), key=lambda entry: entry.seq)


def receipt_of(team: Team, job_id: UUID) -> JobReceipt | None:
    """The receipt of a team's job, in two statements; None where nothing was reserved for it.

    A third one only where a hold ended before its job did.
    """
    holds = Hold.objects.filter(wallet__team=team, reference__in=[str(job_id), f"{job_id}:late"])
    found = list(holds.order_by("created_at", "reference").prefetch_related(ENTRIES))
    if not found:
        return None
    lapsed = [hold.pk for hold in found if hold.state == Hold.State.EXPIRED]
    owed = Uncollected.objects.filter(hold__in=lapsed).values_list("amount_centi", flat=True) if lapsed else []
    return JobReceipt(Quote.from_dict(found[0].quote), found, sum(owed))


def first_holds(job_ids: Collection[UUID]) -> dict[str, Hold]:
    """The hold of each job by the job's id, in one statement."""
    return {hold.reference: hold for hold in Hold.objects.filter(reference__in=map(str, job_ids))}
