"""What a provider's webhook can be told no for. Nothing is written on any of them."""

from tenkaigen.errors import DomainError


class WebhookMalformed(DomainError):
    """Headers, time or body are not what a delivery has."""

    code = "webhook_malformed"
    http_status = 400


class WebhookForged(DomainError):
    """No signature is right, or there is no such provider: a stranger cannot tell which."""

    code = "webhook_forged"
    http_status = 401
