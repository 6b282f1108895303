"""What something would cost and whether it would be accepted, without doing it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.db import transaction

from accounts.models import Team
from credits import prices, pricing
from credits import queries as credits
from credits.pricing import Ask, Quote
from credits.queries import Preview
from generation import looks, services
from generation.models import CustomModel, Job
from generation.params import Params


@dataclass(frozen=True, slots=True)
class Estimate:
    """A price, and how the team would pay it at this moment."""

    quote: Quote
    preview: Preview


def of(team: Team, quote: Quote) -> Estimate:
    """Who would pay a quote now, in one statement and without a lock."""
    return Estimate(quote, credits.preview(team, quote))


def of_training(team: Team, ask: Ask) -> Estimate:
    """What a model of one's own, or its next version, would cost now.

    Raises:
        PriceMissing: the price list has a hole where this falls.
    """
    return of(team, pricing.quote(prices.current(), ask))


def of_pictures(team: Team, params: Params) -> Estimate:
    """What pictures would cost now.

    Raises:
        InvalidParams, ModelNotReady: as `looks.resolve`; a model that is not offered.
        PriceMissing: the price list has a hole where this falls.
    """
    return of(team, services.price_of(params, looks.resolve(team, params)))


def rehearse(*, team: Team, params: Params, request_key: str, **order: Any) -> Estimate:
    """Submit a request and undo it: every refusal is the real one, and nothing is kept, charged or rung.

    It takes what `services.submit_job` takes. The request key stays free. One that stands for this very request already
    does not matter.

    Raises:
        Everything that `services.submit_job` raises.
    """
    services.first_job(team, request_key, params)
    with transaction.atomic():
        job = services.submit_job(team=team, params=params, request_key=f"rehearsal:{uuid4()}", **order)
        transaction.set_rollback(True)
    return of(team, Quote.from_dict(job.quote))


def rehearse_training(submit: Callable[..., Job], model: CustomModel, **order: Any) -> Estimate:
    """Order a training and undo it, as `rehearse`. `submit` is one of `custom.services`, `order` what it takes.

    Raises:
        Everything that `submit` raises.
    """
    with transaction.atomic():
        job = submit(model, **order)
        transaction.set_rollback(True)
    return of(model.team, Quote.from_dict(job.quote))
