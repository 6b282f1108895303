"""Hourly passes: issued to a team, started by it, counted by the ledger."""

from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from accounts import activity
from accounts.models import ApiKey, Team, User
from credits import ledger
from credits.amounts import CENTI
from credits.clock import now
from credits.errors import NoSuchProduct, PassNotReady, ReferenceTaken
from credits.locks import waiting
from credits.models import Grant, Pass, PassProduct

logger = structlog.get_logger(__name__)


@transaction.atomic
def issue(*, team: Team, product: PassProduct, reference: str, actor: str) -> Pass:
    """Give a team a pass that it may start when it likes. The same reference again gives nothing more.

    Raises:
        ReferenceTaken: the reference issued another pass.
    """
    made, is_new = Pass.objects.get_or_create(
        reference=reference,
        defaults={
            "team": team,
            "product": product,
            "name": product.name,
            "images": product.images,
            "videos": product.videos,
            "minutes": product.minutes,
            "side_px_max": product.side_px_max,
            "issued_by": actor,
        },
    )
    if (made.team_id, made.product_id) != (team.pk, product.pk):
        raise ReferenceTaken(f"The reference {reference} stands for another pass.")
    if is_new:
        activity.record(team=team, actor=actor, verb="pass.issued", target=made.name, reference=reference)
        logger.info("pass_issued", team=str(team.pk), product=product.slug, reference=reference, actor=actor)
    return made


def product_called(slug: str) -> PassProduct:
    """A product by its name in the price list of passes.

    Raises:
        NoSuchProduct: there is none, or it is not sold any more.
    """
    product = PassProduct.objects.filter(slug=slug, is_active=True).first()
    if product is None:
        raise NoSuchProduct(f"There is no pass called {slug!r}.")
    return product


def change_product(product: PassProduct, *, actor: str) -> PassProduct:
    """Save what staff made of a product. It counts for what is issued from now on."""
    product.save()
    logger.info("pass_product_changed", product=product.slug, actor=actor)
    return product


@transaction.atomic
def activate(*, team: Team, pass_id: UUID, actor: User | ApiKey | str) -> Pass:
    """Start a pass: its hour begins now. Starting it again changes nothing.

    Raises:
        Pass.DoesNotExist: the team has no such pass.
        PassNotReady: another pass of the team still has time and images.
        Busy: the pass's lock, or the wallet's, did not come in time.
    """
    with waiting():
        found = Pass.objects.select_for_update(no_key=True).get(pk=pass_id, team=team)
    if found.grant_id:
        return found
    if found.withdrawn_at:
        raise PassNotReady(f"Your {found.name} pass was refunded.")
    moment = now()
    found.grant = ledger.grant(
        team_id=team.pk,
        amount_centi=found.images * CENTI,
        covers_px=found.side_px_max,
        source=Grant.Source.PASS,
        source_ref=f"pass:{found.pk}",
        effective_at=moment,
        expires_at=moment + timedelta(minutes=found.minutes),
        actor=_in_the_books(actor),
        reason=f"{found.name} pass, {found.minutes} minutes",
    )
    # Asked under the wallet's lock, which the grant took: two passes started together cannot both find none.
    if other := running_of(team):
        raise PassNotReady(f"Your {other.name} pass still runs. Start this one when it is used up or over.")
    found.save(update_fields=["grant"])
    activity.record(team=team, actor=actor, verb="pass.activated", target=found.name)
    return found


def running_of(team: Team) -> Pass | None:
    """The pass that pays now: started, with time and images left."""
    return _with_grant(team).filter(grant__expires_at__gt=Now(), grant__available_centi__gt=0).first()


def shown_to(team: Team) -> list[Pass]:
    """What the side panel shows: passes that wait, and the one whose hour has not ended, the latter first."""
    passes = _with_grant(team).filter(Q(grant=None) | Q(grant__expires_at__gt=Now()))
    return list(passes.order_by("grant__expires_at", "created_at")[:20])


def _with_grant(team: Team) -> QuerySet[Pass]:
    return Pass.objects.filter(team=team, withdrawn_at=None).select_related("grant")


def _in_the_books(actor: User | ApiKey | str) -> str:
    """Entries are kept for ever and never changed: they say who it was by what names nobody once the person is gone."""
    if isinstance(actor, User):
        return f"person {actor.pk}"
    return f"key {actor.prefix}" if isinstance(actor, ApiKey) else actor
