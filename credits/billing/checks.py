"""Refuses, at start, settings of billing that would be dangerous."""

import re

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError

KEY = re.compile(r"(sk|rk)_(test|live)_[A-Za-z0-9]{24,}")


@register(Tags.security)
def billing_is_safe(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """No live key with DEBUG, no foreign Stripe outside `make run`, no endpoint that believes everybody."""
    if not settings.STRIPE_SECRET_KEY:
        return []
    errors: list[CheckMessage] = []
    if not KEY.fullmatch(settings.STRIPE_SECRET_KEY):
        hint = "It begins with sk_test_, sk_live_, rk_test_ or rk_live_."
        errors.append(Error("STRIPE_SECRET_KEY is no secret key of Stripe's.", hint=hint, id="tenkaigen.E030"))
    if settings.DEBUG and settings.STRIPE_LIVE_MODE:
        hint = "With DEBUG a request may bring its own webhook secret: anybody could grant themselves credits."
        errors.append(Error("DEBUG is on and STRIPE_SECRET_KEY is live.", hint=hint, id="tenkaigen.E031"))
    if getattr(settings, "STRIPE_API_HOST", "") and not settings.EMBEDDED:
        errors.append(Error("STRIPE_API_HOST is set: payments would go to a fake.", id="tenkaigen.E032"))
    return errors + _endpoints()


def _endpoints() -> list[CheckMessage]:
    from djstripe.models import WebhookEndpoint

    try:
        found = list(WebhookEndpoint.objects.values_list("url", "secret", "djstripe_validation_method"))
    except DatabaseError:
        return []  # not migrated yet
    return [
        Error(
            f"The webhook endpoint {url} does not verify signatures.",
            hint="Set its validation method to verify_signature and give it its secret, or delete it.",
            id="tenkaigen.E033",
        )
        for url, secret, method in found
        if method != "verify_signature" or not secret
    ]
