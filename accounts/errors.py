"""What a person can be told no for about accounts."""

from tenkaigen.errors import DomainError


class NotAllowed(DomainError):
    """The role, or the key's scopes, do not suffice."""

    code = "not_allowed"
    http_status = 403


class TooManyKeys(DomainError):
    code = "too_many_keys"
    http_status = 409
