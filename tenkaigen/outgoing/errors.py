"""What can be said no to when somebody else's address is fetched.

The texts are for strangers, so whatever depends on the network reads the same: nobody can use us to find out which
hosts and ports exist behind our walls. `detail` is for our log.
"""

from tenkaigen.errors import DomainError


class OutgoingError(DomainError):
    """An address was not fetched. Nothing of the answer was kept."""

    def __init__(self, message: str, detail: str = "") -> None:
        self.detail = detail or message
        super().__init__(message)


class UrlRefused(OutgoingError):
    """The address itself is not one we go to; nothing was looked up and nobody was asked."""

    code = "url_refused"
    http_status = 400


class FetchFailed(OutgoingError):
    """Not found, not public, not reached, not trusted, or too slow: which of them, only `detail` says."""

    code = "fetch_failed"
    http_status = 422

    def __init__(self, detail: str) -> None:
        super().__init__("Nothing could be fetched from this address.", detail)


class AnswerRefused(OutgoingError):
    """A public server answered, with something we do not take: too much, another type, too many redirects."""

    code = "answer_refused"
    http_status = 422
