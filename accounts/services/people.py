"""People come."""

from django.db import transaction

from accounts.models import User
from accounts.services.teams import open_team


@transaction.atomic
def create_account(email: str, password: str | None, **fields: object) -> User:
    """Make a person with a team of their own, as a sign-up does."""
    user = User.objects.create_user(email, password, **fields)
    open_team(user)
    return user
