"""The project: settings, URLs, and what all three apps share."""

from tenkaigen.celery import app as celery_app

__all__ = ["celery_app"]
