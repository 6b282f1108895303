"""What is said to a provider and what is understood of its answers. Pure: no rows, no network.

Two kinds. An `endpoint` takes our own request and answers in our own words (docs/operations/remote-providers.md); a
`queue` takes and answers what fal's queue does. Whatever an answer holds about prices, people or models is not read.
"""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from generation.models import Job, Provider
from generation.models.providers import PLACEHOLDER, REQUEST_ID_CHARS_MAX
from generation.params import COUNT_MAX

ANSWER_BYTES_MAX = 262_144
URL_CHARS_MAX = 2048
MESSAGE_CHARS_MAX = 200
AUTHORIZATION = {Provider.Kind.ENDPOINT: "Bearer", Provider.Kind.QUEUE: "Key"}
WORKING = frozenset({"queued", "processing", "pending", "running", "in_queue", "in_progress"})
DONE = frozenset({"completed", "succeeded", "ok"})
FAILED = frozenset({"failed", "error", "canceled", "cancelled"})
_ID = re.compile(rf"[A-Za-z0-9._:-]{{1,{REQUEST_ID_CHARS_MAX}}}")


class Unreadable(Exception):
    """An answer that makes no sense; `str(error)` says why, for staff."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answer says. Done without images: they are to be fetched from the result's address."""

    is_done: bool = False
    images: tuple[str, ...] = ()
    error: str = ""
    request_id: str = ""

    @property
    def is_failed(self) -> bool:
        return bool(self.error)

    def as_dict(self) -> dict[str, Any]:
        return {"is_done": self.is_done, "images": list(self.images), "error": self.error}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> "Outcome":
        return cls(kept["is_done"], tuple(kept["images"]), kept["error"])


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a provider, ready to be sent."""

    url: str
    headers: dict[str, str]
    body: bytes = b""


def order(provider: Provider, job: Job, *, key: str, request_id: str, secret: str, callback: str) -> Call:
    """Ask for a job's pictures. `callback` is empty where the provider cannot or need not call."""
    is_queue = provider.kind == Provider.Kind.QUEUE
    said = _queue_order(job) if is_queue else _endpoint_order(job, request_id, callback)
    url = provider.endpoint
    if is_queue and callback:
        url += ("&" if "?" in url else "?") + urlencode({"fal_webhook": callback})
    headers = {**_headers(provider, secret), "Content-Type": "application/json", "Idempotency-Key": key}
    return Call(url, headers, json.dumps(said, ensure_ascii=False).encode())


def question(provider: Provider, template: str, *, request_id: str, secret: str) -> Call:
    """Ask how a request stands, or for its result. The address is the operator's; the id is quoted into it."""
    return Call(template.replace(PLACEHOLDER, quote(request_id, safe="")), _headers(provider, secret))


def read(body: bytes) -> Outcome:
    """Understand an answer of either kind, from a call or a webhook.

    Raises:
        Unreadable: not JSON, or not what an answer looks like.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"no JSON: {type(error).__name__}") from error
    if not isinstance(said, dict):
        raise Unreadable("no object")
    payload = said["payload"] if isinstance(said.get("payload"), dict) else said
    request_id = _request_id(said)
    status = str(said.get("status", "")).lower()
    if status in FAILED or (not status and said.get("error")):
        return Outcome(is_done=True, error=_message(said) or "no reason given", request_id=request_id)
    if status in WORKING:
        return Outcome(request_id=request_id)
    images = _images(payload)
    if images or status in DONE:
        return Outcome(is_done=True, images=images, request_id=request_id)
    if request_id and not status:
        return Outcome(request_id=request_id)
    raise Unreadable(f"status {status[:40]!r}")


def _headers(provider: Provider, secret: str) -> dict[str, str]:
    scheme = AUTHORIZATION[Provider.Kind(provider.kind)]
    return {"Authorization": f"{scheme} {secret}", "Accept": "application/json"}


def _endpoint_order(job: Job, request_id: str, callback: str) -> dict[str, Any]:
    said = {
        "request_id": request_id,
        "model": job.model,
        "prompt": job.expanded_prompt,
        "negative_prompt": job.negative_prompt,
        "width": job.width,
        "height": job.height,
        "count": job.count,
        "seeds": [job.seed + place for place in range(job.count)],
        "steps": job.num_inference_steps,
        "guidance_scale": job.guidance_scale,
    }
    return said | ({"callback_url": callback} if callback else {})


def _queue_order(job: Job) -> dict[str, Any]:
    return {
        "prompt": job.expanded_prompt,
        "negative_prompt": job.negative_prompt,
        "image_size": {"width": job.width, "height": job.height},
        "num_images": job.count,
        "seed": job.seed,
        "num_inference_steps": job.num_inference_steps,
        "guidance_scale": job.guidance_scale,
        "output_format": "png",
    }


def _request_id(said: dict[str, Any]) -> str:
    given = said.get("request_id")
    if given is None:
        return ""
    if not isinstance(given, str) or not _ID.fullmatch(given):
        raise Unreadable("its request id is none")
    return given


def _images(payload: dict[str, Any]) -> tuple[str, ...]:
    listed = payload.get("images") or []
    if not isinstance(listed, list) or len(listed) > COUNT_MAX:
        raise Unreadable("its list of images is none")
    found = [entry.get("url") if isinstance(entry, dict) else entry for entry in listed]
    if not all(isinstance(url, str) and 0 < len(url) <= URL_CHARS_MAX for url in found):
        raise Unreadable("an image without an address")
    return tuple(map(str, found))


def _message(said: dict[str, Any]) -> str:
    error = said.get("error")
    text = error.get("message", "") if isinstance(error, dict) else error
    return str(text or "")[:MESSAGE_CHARS_MAX]
