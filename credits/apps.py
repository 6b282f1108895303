"""Hears of new people, and gives a new installation its functions, plans, passes and prices."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CreditsConfig(AppConfig):
    name = "credits"

    def ready(self) -> None:
        from accounts.signals import person_confirmed
        from credits import seed, services
        from credits.billing import checks, receivers, tasks  # noqa: F401  (each registers itself)
        from credits.billing import seed as shop
        from credits.ledger import functions

        person_confirmed.connect(services.welcome, dispatch_uid="credits.welcome")
        post_migrate.connect(functions.install, sender=self, dispatch_uid="credits.functions")
        post_migrate.connect(seed.seed, sender=self, dispatch_uid="credits.seed")
        post_migrate.connect(shop.seed, sender=self, dispatch_uid="credits.billing.seed")
