"""Hears of new teams: each gets a wallet and the welcome bonus."""

from django.apps import AppConfig


class CreditsConfig(AppConfig):
    name = "credits"

    def ready(self) -> None:
        from accounts.signals import team_created
        from credits import services

        team_created.connect(services.welcome, dispatch_uid="credits.welcome")
