"""Everything the fake knows: objects by id, the events they caused, and the time."""

import copy
import itertools
import json
import secrets
import threading
import time
from pathlib import Path
from typing import Any

API_VERSION = "2026-05-27.dahlia"
Object = dict[str, Any]
# What Stripe puts before an id.
PREFIXES = {
    "customer": "cus", "product": "prod", "price": "price", "subscription": "sub", "subscription_item": "si",
    "invoice": "in", "line_item": "il", "invoice_payment": "inpay", "payment_intent": "pi", "charge": "ch",
    "refund": "re", "dispute": "du", "checkout.session": "cs_test", "billing_portal.session": "bps",
    "billing_portal.configuration": "bpc", "webhook_endpoint": "we", "event": "evt", "payment_method": "pm",
    "subscription_schedule": "sub_sched",
}  # fmt: skip


class Refused(Exception):
    """What Stripe answers with an error object."""

    def __init__(self, message: str, *, status: int = 400, code: str = "", kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status, self.code, self.kind = status, code, kind


class Store:
    """Objects are plain dictionaries; keys that begin with `_` are the fake's own and are never shown."""

    def __init__(self, file: Path | None = None, *, now: int | None = None) -> None:
        self.lock = threading.RLock()
        self.file = file
        self.objects: dict[str, Object] = {}
        self.events: list[Object] = []
        self.sent: dict[str, list[Any]] = {}  # idempotency key -> what was asked and answered
        self.frozen_at = now  # None: the real clock
        self.fails_next_payment = False
        self._ids = itertools.count(1)
        self._salt = secrets.token_hex(4)  # ids of two runs differ, as a database may have seen both
        if file and file.exists():
            kept = json.loads(file.read_text())
            self.objects, self.events, self.sent = kept["objects"], kept["events"], kept["sent"]
        account = {"object": "account", "country": "IN", "default_currency": "inr", "type": "standard"}
        self.objects.setdefault("acct_fake", account | {"id": "acct_fake", "settings": {}, "business_profile": {}})

    def now(self) -> int:
        return int(time.time()) if self.frozen_at is None else self.frozen_at

    def new(self, kind: str, **fields: Any) -> Object:
        identity = f"{PREFIXES[kind]}_{self._salt}{next(self._ids):08d}"
        made = {"id": identity, "object": kind, "created": self.now(), "livemode": False, "metadata": {}} | fields
        self.objects[identity] = made
        return made

    def get(self, identity: str, kind: str = "") -> Object:
        """Raises: Refused."""
        found = self.objects.get(identity)
        if found is None or found.get("deleted") or (kind and found["object"] != kind):
            message = f"No such {kind or 'object'}: '{identity}'"
            raise Refused(message, status=404, code="resource_missing")
        return found

    def all(self, kind: str) -> list[Object]:
        """Newest first, as Stripe lists them."""
        return [found for found in reversed(list(self.objects.values())) if found["object"] == kind]

    def emit(self, kind: str, about: Object) -> Object:
        """Note an event with the object as it is now."""
        event = self.new(
            "event",
            type=kind,
            api_version=API_VERSION,
            data={"object": public(about)},
            pending_webhooks=1,
            request={"id": None, "idempotency_key": None},
        )
        self.events.append(event)
        return event

    def save(self) -> None:
        if self.file:
            partial = self.file.with_suffix(".partial")
            partial.write_text(json.dumps({"objects": self.objects, "events": self.events[-500:], "sent": self.sent}))
            partial.replace(self.file)


def public(found: Any) -> Any:
    """A copy without what is the fake's own."""
    if isinstance(found, dict):
        return {key: public(value) for key, value in found.items() if not key.startswith("_")}
    return [public(one) for one in found] if isinstance(found, list) else copy.copy(found)


def listed(items: list[Object], url: str, *, has_more: bool = False) -> Object:
    return {"object": "list", "data": items, "has_more": has_more, "url": url}
