"""What accounts hear of the sign-in library."""

from allauth.account.models import EmailAddress
from allauth.account.signals import email_changed, email_confirmed, user_signed_up
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed
from django.dispatch import receiver

from accounts import activity, services
from accounts.models import User
from accounts.queries import team_of


@receiver(email_confirmed)
def confirm(sender: object, email_address: EmailAddress, **kwargs: object) -> None:
    services.free_address(email_address)
    services.confirm_person(email_address.user)


@receiver(email_changed)
def follow(sender: object, user: User, **kwargs: object) -> None:
    services.follow_address(user)


@receiver(authenticator_added)
def note_second_step(sender: object, user: User, authenticator: Authenticator, **kwargs: object) -> None:
    _note_second_step(user, authenticator, "account.mfa_on")


@receiver(authenticator_removed)
def note_no_second_step(sender: object, user: User, authenticator: Authenticator, **kwargs: object) -> None:
    """The mail about it is allauth's."""
    _note_second_step(user, authenticator, "account.mfa_off")


def _note_second_step(user: User, authenticator: Authenticator, verb: str) -> None:
    team = team_of(user)
    if team and authenticator.type == Authenticator.Type.TOTP:  # recovery codes come and go with it
        activity.record(team=team, actor=user, verb=verb)


@receiver(user_signed_up)
def confirm_at_once(sender: object, user: User, **kwargs: object) -> None:
    """An address can be confirmed before the sign-up: by an invitation's link, or where no mail is sent at all."""
    if EmailAddress.objects.filter(user=user, verified=True).exists():
        services.confirm_person(user)
