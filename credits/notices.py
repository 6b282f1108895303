"""What teams are told about their credits: that they run low, and that some end soon. Once each; a mail follows.

No run looks at every wallet. A balance falls only by an entry, so running low is looked for where entries were written
since the last runs; what ends soon is found by the index of the ends of grants. A lost watermark costs a longer look
back, a notice nothing: it has a key of its own.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet, Sum
from django.db.models.fields import TextField
from django.db.models.functions import Cast, Coalesce, Now
from django.template.loader import render_to_string

from accounts.models import Team
from credits.amounts import show
from credits.models import Entry, Grant, Notice, Wallet

logger = structlog.get_logger(__name__)
Kind = Notice.Kind
WATERMARK = "credits:notices:entries"
WATERMARK_SECONDS = 7 * 86_400
LOOK_BACK_ENTRIES = 100_000  # when nobody knows what the last run saw
WALLETS_A_BATCH = 500
ENDS_A_RUN = 2_000  # grants; the next run goes on
MAILS_A_RUN = 500
MAIL_CLAIM = timedelta(minutes=10)  # longer than any mail server takes to answer
MAIL_ATTEMPTS_MAX = 3  # that were begun and never heard of again
NEWEST = 5_000  # notices; a mail that has failed for longer is not sent any more
IN_FORCE = Q(grants__effective_at__lte=Now()) & (Q(grants__expires_at=None) | Q(grants__expires_at__gt=Now()))

_DUE = Q(mail_attempts__lt=MAIL_ATTEMPTS_MAX) & (Q(mail_due_at=None) | Q(mail_due_at__lte=Now()))


@dataclass(frozen=True, slots=True)
class Told:
    """What a run did."""

    low: int
    expiry: int
    mailed: int


def notify_all() -> Told:
    """Tell every team that runs low or is about to lose credits. Running it twice, also at once, tells nobody twice."""
    return Told(low=_notify_low(), expiry=_notify_expiry(), mailed=mail_waiting())


def dismiss(*, team: Team, notice_id: int) -> bool:
    """Put a notice away for the whole team. Whether it was there; a second time, and another team's, is not."""
    unseen = Notice.objects.filter(pk=notice_id, wallet__team=team, seen_at=None)
    return bool(unseen.update(seen_at=Now()))


def mail_waiting() -> int:
    """Send the mails of new notices; one that the server refuses waits for the next run. How many went.

    Each goes once, unless a run is cut off between the mail server's yes and its own note: then it is sent again after
    `MAIL_CLAIM`, `MAIL_ATTEMPTS_MAX` times at most. Rather twice than never.
    """
    waiting = _newest().filter(_DUE, mailed_at=None, seen_at=None, wallet__team__closed_at=None)
    return sum(_mail(notice) for notice in waiting.select_related("wallet__team").order_by("pk")[:MAILS_A_RUN])


# --- Low ------------------------------------------------------------------------------------------------------------
def _notify_low() -> int:
    """Look at every wallet that something moved in since the run before the last one."""
    before_last, last = cache.get(WATERMARK) or (None, None)
    newest = Entry.objects.aggregate(newest=Max("pk"))["newest"] or 0
    # From the run before the last: an entry is numbered before it is committed, and may have been invisible to it.
    since = newest - LOOK_BACK_ENTRIES if before_last is None else before_last
    made = sum(_notify_low_wallets(some) for some in _moved(since, newest))
    cache.set(WATERMARK, (newest if last is None else last, newest), WATERMARK_SECONDS)
    return made


def _moved(since: int, newest: int) -> Iterator[list[int]]:
    moved = Entry.objects.filter(pk__gt=since, pk__lte=newest).order_by("wallet").values_list("wallet", flat=True)
    wallets = list(moved.distinct())
    for place in range(0, len(wallets), WALLETS_A_BATCH):
        yield wallets[place : place + WALLETS_A_BATCH]


def _notify_low_wallets(wallet_ids: list[int]) -> int:
    """Notices for those below a threshold; those above it again need theirs no more. Only who ever spent is told."""
    credit = Q(grants__unit=Grant.Unit.CREDIT)
    wallets = Wallet.objects.filter(pk__in=wallet_ids, team__closed_at=None).annotate(
        available=Coalesce(Sum("grants__available_centi", filter=credit & IN_FORCE), 0),
        spent=Coalesce(Sum("grants__spent_centi", filter=credit), 0),
        top_up=Max("grants__pk", filter=credit),
    )
    told = _thresholds_told(wallet_ids)
    made, over = [], []
    for wallet_id, available, spent, top_up in wallets.values_list("pk", "available", "spent", "top_up"):
        crossed = [threshold for threshold in settings.LOW_CREDIT_CENTI if available < threshold]
        over += [(wallet_id, threshold) for threshold in settings.LOW_CREDIT_CENTI if threshold not in crossed]
        # Whoever falls through two at once, or rises between them, hears of the lower one alone.
        if crossed and spent and min(crossed) < min(told[wallet_id, top_up], default=max(crossed) + 1):
            made.append(_low(wallet_id, min(crossed), top_up, available))
    _put_away_low(over)
    return _write(made)


def _low(wallet_id: int, threshold: int, top_up: int, available: int) -> Notice:
    text = f"Your credits run low: {show(available)} left." if available else "You have no credits left."
    return Notice(wallet_id=wallet_id, kind=Kind.LOW, key=f"{threshold}:{top_up}", text=text)


def _thresholds_told(wallet_ids: list[int]) -> dict[tuple[int, int], list[int]]:
    """By wallet and top-up, the thresholds a team was told of."""
    told: dict[tuple[int, int], list[int]] = defaultdict(list)
    for wallet_id, key in Notice.objects.filter(wallet__in=wallet_ids, kind=Kind.LOW).values_list("wallet", "key"):
        threshold, _, top_up = key.partition(":")
        told[wallet_id, int(top_up)].append(int(threshold))
    return told


def _put_away_low(over: Iterable[tuple[int, int]]) -> None:
    above = set(over)
    low = Notice.objects.filter(wallet__in={wallet_id for wallet_id, _ in above}, kind=Kind.LOW, seen_at=None)
    rows = low.values_list("pk", "wallet", "key")
    if gone := [pk for pk, wallet_id, key in rows if (wallet_id, _threshold(key)) in above]:
        Notice.objects.filter(pk__in=gone).update(seen_at=Now())


def _threshold(key: str) -> int:
    return int(key.partition(":")[0])


# --- Expiry ---------------------------------------------------------------------------------------------------------
def _notify_expiry() -> int:
    """Notices for grants with something left that end within `EXPIRY_NOTICE_DAYS`. A pass shows its own minutes."""
    soon = Now() + timedelta(days=settings.EXPIRY_NOTICE_DAYS)
    told = Notice.objects.filter(wallet=OuterRef("wallet"), kind=Kind.EXPIRY, key=Cast(OuterRef("pk"), TextField()))
    ending = Grant.objects.filter(
        ~Exists(told), unit=Grant.Unit.CREDIT, available_centi__gt=0, wallet__team__closed_at=None,
        effective_at__lte=Now(), expires_at__gt=Now(), expires_at__lte=soon,
    )  # fmt: skip
    made = [
        Notice(
            wallet_id=grant.wallet_id,
            kind=Kind.EXPIRY,
            key=str(grant.pk),
            text=f"{show(grant.available_centi)} credits end on {grant.expires_at:%d %B at %H:%M} UTC.",
        )
        for grant in ending.order_by("expires_at", "pk")[:ENDS_A_RUN]
    ]
    _put_away_ended()
    return _write(made)


def _put_away_ended() -> None:
    """What has ended meanwhile, or was spent, needs no notice any more. The newest suffice: the old ones are seen."""
    unseen = _newest().filter(kind=Kind.EXPIRY, seen_at=None)
    grants = {int(key): pk for pk, key in unseen.values_list("pk", "key")}
    lasting = Grant.objects.filter(pk__in=grants, available_centi__gt=0, expires_at__gt=Now())
    if over := set(grants) - set(lasting.values_list("pk", flat=True)):
        Notice.objects.filter(pk__in=[grants[grant_id] for grant_id in over]).update(seen_at=Now())


# --- Writing --------------------------------------------------------------------------------------------------------
def _write(notices: list[Notice]) -> int:
    # Another run may write the same ones at this moment.
    Notice.objects.bulk_create(notices, ignore_conflicts=True)
    return len(notices)


def _newest() -> QuerySet[Notice]:
    """Those whose mail and end still matter, found by their numbers."""
    newest = Notice.objects.aggregate(newest=Max("pk"))["newest"] or 0
    return Notice.objects.filter(pk__gt=newest - NEWEST)


def _mail(notice: Notice) -> bool:
    mine = Notice.objects.filter(_DUE, pk=notice.pk, mailed_at=None)
    if not mine.update(mail_due_at=Now() + MAIL_CLAIM, mail_attempts=F("mail_attempts") + 1):
        return False  # another run sends it
    team = notice.wallet.team
    context = {"notice": notice, "team": team, "site_name": settings.SITE_NAME, "site_url": settings.SITE_URL}
    message = EmailMessage(
        subject=" ".join(render_to_string("emails/credit_notice_subject.txt", context).split()),
        body=render_to_string("emails/credit_notice.txt", context),
        to=[team.email],
    )
    try:
        if message.send() == 1:
            Notice.objects.filter(pk=notice.pk).update(mailed_at=Now())
            return True
        reason = "nobody took it"
    except OSError as error:  # smtplib's errors are OSErrors, too
        reason = type(error).__name__
    logger.warning("notice_not_sent", notice=notice.pk, error=reason)
    # Heard of, so it does not count: a mail server may be away for hours.
    Notice.objects.filter(pk=notice.pk).update(mail_due_at=None, mail_attempts=F("mail_attempts") - 1)
    return False
