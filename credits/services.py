"""What people and the system do with credits outside a job. All of it goes through the ledger."""

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from accounts.models import Team
from credits import ledger, prices
from credits.amounts import CENTI
from credits.models import Grant
from tenkaigen.errors import Busy

logger = structlog.get_logger(__name__)
EXPIRY_TEAMS_MAX = 1000  # a run


@transaction.atomic
def welcome(team: Team, **kwargs: object) -> Grant | None:
    """Give a new team the bonus of the price list, once."""
    amount_centi = welcome_centi()
    if not amount_centi:
        return None
    return ledger.grant(
        team_id=team.pk,
        amount_centi=amount_centi,
        source=Grant.Source.BONUS,
        source_ref=f"welcome:{team.pk}",
        reason="Welcome bonus",
    )


def welcome_centi() -> int:
    """What a new team is given, in hundredths of a credit; 0 for nothing."""
    return int(prices.current().get("bonus.welcome") * CENTI) if settings.WELCOME_BONUS else 0


@transaction.atomic
def adjust(*, team: Team, amount_centi: int, reference: str, actor: str, reason: str) -> None:
    """Give credits by hand, or with a negative amount take them away. The same reference again does nothing.

    Raises:
        InvalidAmount: zero, or out of range.
        InsufficientCredits: the team has less to take.
        ReferenceTaken: the reference was used for another team or amount.
        Busy: the wallet's lock did not come in time.
    """
    reference = f"staff:{reference}"
    if amount_centi < 0:
        ledger.take(team_id=team.pk, amount_centi=-amount_centi, reference=reference, actor=actor, reason=reason)
        return
    ledger.grant(
        team_id=team.pk,
        amount_centi=amount_centi,
        source=Grant.Source.ADJUSTMENT,
        source_ref=reference,
        actor=actor,
        reason=reason,
    )


@transaction.atomic
def freeze(*, team: Team, reason: str, actor: str) -> None:
    """Let a team spend nothing more until `unfreeze`; it is shown the reason."""
    ledger.freeze(team_id=team.pk, reason=reason)
    logger.warning("wallet_frozen", team=str(team.pk), actor=actor, reason=reason)


@transaction.atomic
def unfreeze(*, team: Team, actor: str) -> None:
    """Let a team spend again."""
    ledger.unfreeze(team_id=team.pk)
    logger.warning("wallet_unfrozen", team=str(team.pk), actor=actor)


def expire_all() -> int:
    """Write off what is left of grants that have ended, team by team. How many teams lost something."""
    ended = Grant.objects.filter(expires_at__lte=Now(), available_centi__gt=0)
    teams = ended.values_list("wallet__team_id", flat=True).distinct()[:EXPIRY_TEAMS_MAX]
    written_off = 0
    for team_id in list(teams):
        try:
            with transaction.atomic():
                written_off += bool(ledger.expire(team_id=team_id))
        except Busy:
            logger.info("expire_later", team=str(team_id))
    return written_off
