"""Our one-step migrations of dj-stripe end where its own 523 steps end, and are recorded under the same names."""

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

OURS = {"djstripe": "tenkaigen.djstripe.migrations"}


def load(settings: Any, modules: dict[str, str]) -> tuple[list[str], ProjectState]:
    settings.MIGRATION_MODULES = modules
    loader = MigrationLoader(None, ignore_no_migrations=True)
    names = sorted(name for app, name in loader.disk_migrations if app == "djstripe")
    return names, loader.project_state([("djstripe", names[-1])])


def test_both_graphs_end_in_the_same_models_under_the_same_names(settings):
    upstream_names, upstream = load(settings, {})
    our_names, ours = load(settings, OURS)
    assert our_names == upstream_names == ["0001_initial", "0002_2_10", "0003_2_11"]
    for before, after in ((upstream, ours), (ours, upstream)):
        changes = MigrationAutodetector(before, after)._detect_changes()
        assert changes.get("djstripe") is None, [str(part) for part in changes["djstripe"][0].operations]


@pytest.mark.django_db
def test_the_models_need_no_further_migration():
    call_command("makemigrations", "djstripe", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db
def test_every_table_of_djstripe_is_there():
    from django.apps import apps

    tables = set(connection.introspection.table_names())
    wanted = {model._meta.db_table for model in apps.get_app_config("djstripe").get_models(include_auto_created=True)}
    assert wanted <= tables and len(wanted) > 60
