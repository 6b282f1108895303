"""What people and the system do with credits outside a job. All of it goes through the ledger."""

from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts import activity
from accounts.models import Team, User
from credits import ledger, prices
from credits.amounts import CENTI, show
from credits.audit import find_drift
from credits.errors import PriceMissing, ReferenceTaken
from credits.models import Clawback, Grant, Wallet
from tenkaigen import alarms
from tenkaigen.errors import Busy

logger = structlog.get_logger(__name__)
EXPIRY_TEAMS_MAX = 1000  # a run
EXPIRY_LOOK_BACK = timedelta(days=3)  # of an hourly run; one a night looks at all, for what a dispute gave back late
EXPIRY_WHOLE_AT_HOUR = 3  # UTC
DRIFT_SHOWN_MAX = 20  # lines in the alarm; the command prints all
TEXT_CHARS_MAX = 100  # of a reference or a reason that a person writes


@transaction.atomic
def welcome(team: Team, user: User, *, is_first: bool = True, **kwargs: object) -> Grant | None:
    """Give a person's first team the bonus of the price list. Once a person, however often they begin anew."""
    amount_centi = welcome_centi() if is_first else 0
    reference = f"welcome:{user.pk}"
    if not amount_centi or Grant.objects.filter(source=Grant.Source.BONUS, source_ref=reference).exists():
        return None
    return ledger.grant(
        team_id=team.pk,
        amount_centi=amount_centi,
        source=Grant.Source.BONUS,
        source_ref=reference,
        reason="Welcome bonus",
    )


def welcome_centi() -> int:
    """What a new team is given, in hundredths of a credit; 0 for nothing."""
    if not settings.WELCOME_BONUS:
        return 0
    try:
        return int(prices.current().get("bonus.welcome") * CENTI)
    except PriceMissing as error:  # nobody is kept out by it
        logger.error("no_welcome_bonus", reason=str(error))
        return 0


@transaction.atomic
def adjust(*, team: Team, amount_centi: int, reference: str, actor: str, reason: str) -> None:
    """Give credits by hand, or with a negative amount take them away. The same reference again does nothing.

    `reference` and `reason` have at most `TEXT_CHARS_MAX` characters.

    Raises:
        InvalidAmount: zero, or out of range.
        InsufficientCredits: the team has less to take.
        ReferenceTaken: the reference was used for another team or amount.
        Busy: the wallet's lock did not come in time.
    """
    if amount_centi < 0:
        has_moved = _take(team, -amount_centi, reference, actor, reason)
    else:
        has_moved = _give(team, amount_centi, reference, actor, reason)
    if not has_moved:
        return
    amount = show(amount_centi)
    activity.record(team=team, actor=actor, verb="credits.adjusted", target=f"by {amount}", reference=reference)
    logger.info("credits_adjusted", team=str(team.pk), amount=amount, reference=reference, actor=actor)


@transaction.atomic
def freeze(*, team: Team, reason: str, actor: str) -> None:
    """Let a team spend nothing more until `unfreeze`; it is shown the reason. The same reason again does nothing."""
    if Wallet.objects.filter(team=team, frozen_reason=reason).exists():
        return
    ledger.freeze(team_id=team.pk, reason=reason)
    activity.record(team=team, actor=actor, verb="credits.frozen", reason=reason)
    logger.warning("wallet_frozen", team=str(team.pk), actor=actor, reason=reason)


@transaction.atomic
def unfreeze(*, team: Team, actor: str) -> None:
    """Let a team spend again. Again does nothing."""
    if not Wallet.objects.filter(team=team).exclude(frozen_reason="").exists():
        return
    ledger.unfreeze(team_id=team.pk)
    activity.record(team=team, actor=actor, verb="credits.unfrozen")
    logger.warning("wallet_unfrozen", team=str(team.pk), actor=actor)


def expire_all(*, look_back: timedelta | None = None) -> int:
    """Write off what is left of grants that have ended, team by team. How many teams lost something.

    With `look_back` only of those that ended so long ago or less: nearly all that ever ended have nothing left, and to
    read them every hour takes longer with every year. An index of those that have would turn every movement cold.
    """
    ended = Grant.objects.filter(expires_at__lte=Now(), available_centi__gt=0)
    if look_back is not None:
        ended = ended.filter(expires_at__gt=Now() - look_back)
    teams = ended.values_list("wallet__team_id", flat=True).distinct()[:EXPIRY_TEAMS_MAX]
    written_off = 0
    for team_id in list(teams):
        try:
            written_off += _expire(team_id)
        except Busy:
            logger.info("expire_later", team=str(team_id))
    return written_off


def _expire(team_id: UUID) -> bool:
    """Until nothing is left, however many grants: a lock for each few hundred of them."""
    lost = False
    while True:
        with transaction.atomic():
            if not ledger.expire(team_id=team_id):
                return lost
        lost = True


def expire_due() -> int:
    """What is due at this hour: the newest ends, and once a night all there are. How many teams lost something."""
    is_night = timezone.now().hour == EXPIRY_WHOLE_AT_HOUR
    return expire_all(look_back=None if is_night else EXPIRY_LOOK_BACK)


def audit() -> list[str]:
    """Prove the whole ledger from its entries, and alarm about what does not agree. Reads only."""
    drift = find_drift()
    if drift:
        alarms.ring("ledger_drift", lines=len(drift), first=drift[:DRIFT_SHOWN_MAX])
    return drift


def _give(team: Team, amount_centi: int, reference: str, actor: str, reason: str) -> bool:
    given = ledger.grant(
        team_id=team.pk,
        amount_centi=amount_centi,
        source=Grant.Source.ADJUSTMENT,
        source_ref=_name(reference),
        actor=actor,
        reason=reason,
    )
    if Clawback.objects.filter(reference=f"{_name(reference)}#1").exists():
        raise ReferenceTaken(f"The reference {reference} took credits away.")
    return given.is_new


def _take(team: Team, amount_centi: int, reference: str, actor: str, reason: str) -> bool:
    taken = ledger.take(
        team_id=team.pk, amount_centi=amount_centi, reference=_name(reference), actor=actor, reason=reason
    )
    if Grant.objects.filter(source=Grant.Source.ADJUSTMENT, source_ref=_name(reference)).exists():
        raise ReferenceTaken(f"The reference {reference} gave credits.")
    return taken > 0


def _name(reference: str) -> str:
    return f"staff:{reference}"
