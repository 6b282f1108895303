"""What people and the system do with credits outside a job. All of it goes through the ledger."""

from django.conf import settings
from django.db import transaction

from accounts.models import Team
from credits import ledger
from credits.models import Grant


@transaction.atomic
def welcome(team: Team, **kwargs: object) -> Grant | None:
    """Give a new team its bonus, once."""
    if not settings.WELCOME_BONUS_CENTI:
        return None
    return ledger.grant(
        team_id=team.pk,
        amount_centi=settings.WELCOME_BONUS_CENTI,
        source=Grant.Source.BONUS,
        source_ref=f"welcome:{team.pk}",
        reason="Welcome bonus",
    )


@transaction.atomic
def give(*, team: Team, amount_centi: int, reference: str, actor: str, reason: str) -> Grant:
    """Give credits by hand. The same reference again gives nothing more.

    Raises:
        ReferenceTaken: the reference was used for another team or amount.
    """
    return ledger.grant(
        team_id=team.pk,
        amount_centi=amount_centi,
        source=Grant.Source.ADJUSTMENT,
        source_ref=f"staff:{reference}",
        actor=actor,
        reason=reason,
    )
