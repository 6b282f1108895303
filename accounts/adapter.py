"""Where allauth's sign-up, confirmation and codes meet our services and settings."""

import base64
import hashlib
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.http import HttpRequest
from django.utils.crypto import get_random_string

from accounts import services
from accounts.models import User


class AccountAdapter(DefaultAccountAdapter):
    """A person who signs up gets a team in the same transaction; what is answered does not tell who has an account."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        if (self.stashed_email(request) or "").lower() != form.cleaned_data["email"].lower():
            self.unstash_verified_email(request)  # allauth would make the invited address the person's, unasked
        with transaction.atomic():
            user = super().save_user(request, user, form, commit=commit)
            if commit:
                services.open_team(user)
        return user

    def is_email_verified(self, request: HttpRequest, email: str) -> bool:
        """An address counts as confirmed by an invitation's link; and everywhere, if no mail can be sent."""
        return not settings.EMAIL_CONFIRMATION or super().is_email_verified(request, email)

    def render_mail(
        self, template_prefix: str, email: Any, context: dict[str, Any], headers: Any = None
    ) -> EmailMessage:
        # allauth knows the site by its host only.
        return super().render_mail(template_prefix, email, {"site_name": settings.SITE_NAME} | context, headers)

    def send_account_already_exists_mail(self, email: str) -> None:
        # A newcomer's password is hashed here; so that the time tells nothing, a known person's is, too.
        User().set_password(get_random_string(20))
        super().send_account_already_exists_mail(email)

    def stashed_email(self, request: HttpRequest) -> str | None:
        return request.session.get("account_verified_email")


class MfaAdapter(DefaultMFAAdapter):
    """Secrets of authenticator apps are encrypted with SECRET_KEY, so that a stolen database makes no codes."""

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _cipher().decrypt(encrypted_text.encode()).decode()

    def get_totp_issuer(self) -> str:
        return str(settings.SITE_NAME)


def _cipher() -> MultiFernet:
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    keys = [base64.urlsafe_b64encode(hashlib.sha256(f"mfa:{secret}".encode()).digest()) for secret in secrets]
    return MultiFernet([Fernet(key) for key in keys])
