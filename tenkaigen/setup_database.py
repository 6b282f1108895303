"""What `make run` does to the database before the first page: one process for three commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command


def main(arguments: list[str]) -> None:
    """Migrate and load the catalogue; with --demo also make the demo account, with --billing what Stripe must know."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tenkaigen.settings")
    django.setup()
    Path(settings.STATIC_ROOT).mkdir(exist_ok=True)  # WhiteNoise warns about a missing one, although it is not used
    call_command("migrate", interactive=False, verbosity=0)
    call_command("seed_catalogue")
    if "--demo" in arguments:
        call_command("make_demo_account")
    if "--billing" in arguments:
        call_command("setup_billing", "--apply")


if __name__ == "__main__":
    main(sys.argv[1:])
