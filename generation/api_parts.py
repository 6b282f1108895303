"""What the REST views of jobs and of models share: how a request names things, and its key."""

from uuid import UUID, uuid4

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from generation import services
from generation.models import Job

ASK_AGAIN_SECONDS = {Job.Status.QUEUED: 2, Job.Status.PROCESSING: 1}
KEY = "Idempotency-Key"
KEY_HEADER = OpenApiParameter(
    KEY,
    str,
    OpenApiParameter.HEADER,
    description=f"Of your own making, at most {services.REQUEST_KEY_CHARS_MAX} characters. "
    "The same key and body again answer with the first job and charge nothing.",
)


def uuid_of(name: str, text: str) -> UUID:
    """Raises: ValidationError, for a text that is no UUID; it is asked for in JSON, like everything else."""
    try:
        return UUID(text)
    except ValueError:
        raise ValidationError({name: ["This is not a UUID."]}) from None


def request_key(request: Request) -> str:
    """The request's own key, or a new one. Raises: ValidationError, for a key that could not be kept."""
    key = request.headers.get(KEY, "")
    if len(key) > services.REQUEST_KEY_CHARS_MAX or not (key.isascii() and key.isprintable()):
        limit = services.REQUEST_KEY_CHARS_MAX
        raise ValidationError({KEY: [f"Use at most {limit} printable ASCII characters."]})
    return key or uuid4().hex
