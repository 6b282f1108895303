"""The price list in force, read from its rows."""

from django.db.models import QuerySet, Subquery
from django.db.models.functions import Now

from credits.errors import PriceMissing
from credits.models import PriceRule, PriceVersion
from credits.pricing import Prices


def current() -> Prices:
    """The prices of this moment, in one statement: the newest version whose time has come.

    Raises:
        PriceMissing: no price list was ever published.
    """
    in_force = PriceVersion.objects.filter(effective_at__lte=Now()).order_by("-effective_at")
    return _prices(PriceRule.objects.filter(version=Subquery(in_force.values("pk")[:1])))


def of_version(version: PriceVersion) -> Prices:
    """The prices of any version, drafts included.

    Raises:
        PriceMissing: it has no rules.
    """
    return _prices(PriceRule.objects.filter(version=version))


def _prices(rules: QuerySet[PriceRule]) -> Prices:
    rows = list(rules.values_list("version__name", "name", "option", "up_to", "value"))
    if not rows:
        raise PriceMissing("There are no prices yet. Please tell the operator.")
    return Prices.of(rows[0][0], [row[1:] for row in rows])
