"""The Celery app. A message is only a bell: the job rows in PostgreSQL say what there is to do."""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tenkaigen.settings")
app = Celery("tenkaigen")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_django_logging(**kwargs: object) -> None:
    """Stop Celery from replacing the JSON logging that Django has set up already."""
