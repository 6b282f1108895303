"""What a person can be told no for about pictures."""

from collections.abc import Mapping

from tenkaigen.errors import DomainError


class InvalidParams(DomainError):
    """Something that was asked for is not offered. `fields` says what, by field name."""

    code = "invalid"
    http_status = 400

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = fields
        super().__init__(" ".join(fields.values()))


class PromptRefused(DomainError):
    """The prompt policy said no; the message is the rule's reason."""

    code = "prompt_refused"
    http_status = 422


class RequestKeyReused(DomainError):
    """The same request key came with another request."""

    code = "request_key_reused"
    http_status = 422


class ModelNotReady(DomainError):
    """The model has no version to draw with yet, or a training of it is still running."""

    code = "model_not_ready"


class ModelTrained(DomainError):
    """The model has a version already: from here on it is refined."""

    code = "model_trained"


class VersionInUse(DomainError):
    """Pictures are being made with a version, or a training starts from it."""

    code = "version_in_use"


class NoSuchModel(DomainError):
    """Somebody deleted it a moment ago."""

    code = "not_found"
    http_status = 404


class NotAPicture(DomainError):
    """Only jobs that make pictures are tried again as they are."""

    code = "not_a_picture"


class TooManyModels(DomainError):
    """The plan allows no further model, picture or byte. The message says what to do."""

    code = "model_limit"
    http_status = 402


class PictureRefused(DomainError):
    """A file that we do not take as a training picture. The message says why, without echoing it."""

    code = "picture_refused"
    http_status = 422


class TooManyJobs(DomainError):
    code = "too_many_jobs"
    http_status = 429
    retry_after_seconds = 30


class TooFast(DomainError):
    """More requests than the plan allows in an hour, or too soon after the last one."""

    code = "too_fast"
    http_status = 429

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = seconds


class KeyCapReached(DomainError):
    """The key's own cap a month does not cover it. `details` says the cap, what is spent, and when the month ends."""

    code = "key_cap_reached"
    http_status = 402

    def __init__(self, message: str, *, seconds: int, details: Mapping[str, str]) -> None:
        super().__init__(message)
        self.retry_after_seconds = seconds
        self.details = details


class QueueFull(DomainError):
    code = "queue_full"
    http_status = 429
    retry_after_seconds = 60


class JobIsOver(DomainError):
    """Too late to cancel: the job is completed, failed or canceled already."""

    code = "job_is_over"


class NothingToGiveBack(DomainError):
    """A job that was charged no credits."""

    code = "nothing_to_give_back"


class JobNotOver(DomainError):
    """Too early: the job is still queued or processing."""

    code = "job_not_over"
