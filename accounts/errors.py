"""What a person can be told no for about accounts."""

from tenkaigen.errors import DomainError


class TooManyKeys(DomainError):
    code = "too_many_keys"
    http_status = 409
