"""Loads the start-up checks."""

from django.apps import AppConfig


class TenkaigenConfig(AppConfig):
    name = "tenkaigen"

    def ready(self) -> None:
        from tenkaigen import checks  # noqa: F401
