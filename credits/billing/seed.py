"""The prices and packs a new installation starts with. Staff change them afterwards; nothing is overwritten."""

from django.db import connection, transaction

from credits.models import Pack, Plan, PlanPrice

# Paise a month; a year costs ten months. None of it is for sale before `setup_billing` has made it at Stripe.
MONTHLY = {"basic": 99_900, "pro": 299_900, "enterprise": 999_900}
MONTHS_PAID_A_YEAR = 10
PACKS = (
    {"slug": "200-credits", "name": "200 credits", "credit_centi": 20_000, "price_cents": 49_900},
    {"slug": "1000-credits", "name": "1,000 credits", "credit_centi": 100_000, "price_cents": 199_900},
)


@transaction.atomic
def seed(**kwargs: object) -> None:
    """Make prices and packs where there are none at all. Runs after every `migrate`."""
    tables = connection.introspection.table_names()
    if PlanPrice._meta.db_table not in tables:
        return  # migrated back to before there was a shop
    if not PlanPrice.objects.exists():
        for plan in Plan.objects.filter(slug__in=MONTHLY):
            cents = MONTHLY[plan.slug]
            PlanPrice.objects.create(plan=plan, interval="month", price_cents=cents)
            PlanPrice.objects.create(plan=plan, interval="year", price_cents=cents * MONTHS_PAID_A_YEAR)
    if not Pack.objects.exists():
        Pack.objects.bulk_create(Pack(position=place, **facts) for place, facts in enumerate(PACKS))
