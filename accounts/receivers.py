"""What accounts hear of the sign-in library."""

from allauth.account.models import EmailAddress
from allauth.account.signals import email_confirmed, user_signed_up
from django.dispatch import receiver

from accounts import services
from accounts.models import User


@receiver(email_confirmed)
def confirm(sender: object, email_address: EmailAddress, **kwargs: object) -> None:
    services.confirm_person(email_address.user)


@receiver(user_signed_up)
def confirm_at_once(sender: object, user: User, **kwargs: object) -> None:
    """An address can be confirmed before the sign-up: by an invitation's link, or where no mail is sent at all."""
    if EmailAddress.objects.filter(user=user, verified=True).exists():
        services.confirm_person(user)
