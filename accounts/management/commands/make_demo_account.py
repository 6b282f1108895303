"""`make run` calls this, so that a newcomer can sign in at once."""

import secrets

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts import services
from accounts.models import User

EMAIL = "demo@tenkaigen.local"


class Command(BaseCommand):
    help = "Make the demo account of the embedded servers; its random password is kept in var/demo-account.txt."

    def handle(self, **options: object) -> None:
        if not settings.EMBEDDED:
            raise CommandError("The demo account exists only on the embedded servers of `make run`.")
        path = settings.VAR_DIR / "demo-account.txt"
        with transaction.atomic():
            user = User.objects.filter(email=EMAIL).first()
            if user is None or not path.exists():
                password = secrets.token_urlsafe(9)
                user = user or services.create_account(EMAIL, password, name="Demo", is_demo=True)
                user.set_password(password)
                user.is_staff = user.is_superuser = True  # a newcomer wants to see the admin, too
                user.save(update_fields=["password", "is_staff", "is_superuser"])
                path.touch(mode=0o600)
                path.write_text(f"{EMAIL}\n{password}\n")
        self.stdout.write(path.read_text().replace("\n", " ").strip())
