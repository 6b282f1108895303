"""The plans, passes and prices a new installation starts with. Staff change them afterwards; nothing is overwritten."""

from decimal import Decimal

from django.db import connection, transaction
from django.db.models.functions import Now

from credits.models import PassProduct, Plan, PriceRule, PriceVersion

PLANS = (
    {"slug": "free", "name": "Free", "is_default": True, "description": "One picture at a time, on bonus and passes."},
    {
        "slug": "basic", "name": "Basic", "monthly_centi": 50_000, "concurrent_jobs": 1, "queue_priority": 10,
        "queue_cap": 50, "requests_per_hour": 120, "seconds_between": 1, "description": "For one person's ideas.",
        "models_max": 3, "model_storage_bytes": 3 * 10**9,
    },
    {
        "slug": "pro", "name": "Pro", "monthly_centi": 200_000, "concurrent_jobs": 3, "queue_priority": 20,
        "queue_cap": 200, "requests_per_hour": 600, "seconds_between": 0.5, "description": "For people who sell it.",
        "models_max": 15, "model_storage_bytes": 15 * 10**9,
    },
    {
        "slug": "enterprise", "name": "Enterprise", "monthly_centi": 1_000_000, "concurrent_jobs": 10,
        "queue_priority": 30, "queue_cap": 1000, "requests_per_hour": 3000, "seconds_between": 0,
        "description": "For teams and programs.", "models_max": 100, "model_storage_bytes": 100 * 10**9,
    },
)  # fmt: skip
PASSES = (
    {"slug": "flash-lite", "name": "Flash Lite", "price_cents": 5_000, "images": 3},
    {"slug": "flash", "name": "Flash", "price_cents": 10_000, "images": 8, "videos": 1},
    {"slug": "pro", "name": "Pro", "price_cents": 20_000, "images": 15, "videos": 3},
)
PRICES = "2026-11"
RULES: tuple[tuple[str, str, int | None, str], ...] = (  # name, option, up to, value
    ("image.base", "", None, "5"),
    ("image.factor", "", None, "1.2"),
    ("image.resolution", "", 512, "1.0"),
    ("image.resolution", "", 768, "1.5"),
    ("image.resolution", "", 1024, "2.0"),
    ("image.resolution", "", None, "3.0"),
    ("image.quality", "standard", None, "1.0"),
    ("image.quality", "hd", None, "1.5"),
    ("creation.base", "", None, "50"),
    ("creation.factor", "", None, "1.5"),
    ("creation.images_included", "", None, "5"),
    ("creation.image_extra", "", None, "0.5"),
    ("refinement.base", "", None, "30"),
    ("refinement.growth", "", None, "1.2"),
    ("refinement.factor", "", None, "1.1"),
    ("refinement.cap", "", None, "500"),
    ("complexity.default", "", None, "1.0"),
    ("complexity.cap", "", None, "2.0"),
    ("bonus.welcome", "", None, "100"),
)


@transaction.atomic
def seed(**kwargs: object) -> None:
    """Make what is missing of the first plans, passes and prices. Runs after every `migrate`."""
    if PriceVersion._meta.db_table not in connection.introspection.table_names():
        return  # migrated back to before there were prices
    if not Plan.objects.exists():
        Plan.objects.bulk_create(Plan(position=place, **facts) for place, facts in enumerate(PLANS))
    if not PassProduct.objects.exists():
        PassProduct.objects.bulk_create(PassProduct(position=place, **facts) for place, facts in enumerate(PASSES))
    if not PriceVersion.objects.exists():
        version = PriceVersion.objects.create(name=PRICES, note="The first price list", published_by="installation")
        PriceRule.objects.bulk_create(
            PriceRule(version=version, name=name, option=option, up_to=up_to, value=Decimal(value))
            for name, option, up_to, value in RULES
        )
        PriceVersion.objects.filter(pk=version.pk).update(effective_at=Now())
