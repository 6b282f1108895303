"""A remote GPU provider over real HTTP on loopback, well-behaved unless a test says otherwise.

    with FakeProvider() as fake:
        fake.will_post(sends(503, b""))
        fake.finish(request_id)

It takes orders in both dialects, says how they stand, keeps pictures, and signs webhooks, good ones and forgeries.
"""

import base64
import hashlib
import hmac
import io
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.test import Client
from PIL import Image as Pillow

from tests.fake_engine import picture
from tests.fake_web import Asked, FakeWeb, Reply, sends

API_SECRET = "key-of-the-fake"
HMAC_SECRET = "whsec_" + base64.b64encode(b"first secret of the fake provider").decode()
HMAC_SECRET_2 = "whsec_" + base64.b64encode(b"second secret of the fake provider").decode()
ED25519_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
ED25519_PUBLIC = "whpk_" + base64.b64encode(
    ED25519_KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
).decode()  # fmt: skip


class FakeProvider(FakeWeb):
    """`orders` are the bodies of what was ordered, by the id it gave them. Orders with a known key are known orders."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: dict[str, dict[str, Any]] = {}
        self.by_key: dict[str, str] = {}
        self.finished: dict[str, dict[str, Any]] = {}
        self.is_instant = False
        self.names_requests = True
        self.next_id = ""
        self._posts: list[Reply] = []

    # --- What it is told by a test ----------------------------------------------------------------------------------
    def will_post(self, *replies: Reply) -> None:
        """Answer the next orders so, one after the other, without taking them."""
        self._posts.extend(replies)

    def finish(self, request_id: str = "", **said: Any) -> str:
        """Have an order ready (the last one, unless it is named); `said` replaces parts of the answer."""
        request_id = request_id or list(self.orders)[-1]
        self.finished[request_id] = {"request_id": request_id, **self.result(request_id), **said}
        return request_id

    def result(self, request_id: str) -> dict[str, Any]:
        order = self.orders[request_id]
        urls = [self.put_picture(order, place) for place in range(order.get("count", order.get("num_images", 0)))]
        return {"status": "completed", "images": [{"url": url} for url in urls]}

    def put_picture(self, order: dict[str, Any], place: int = 0) -> str:
        """Keep a picture of the ordered size, and say where."""
        size = order.get("image_size", order)
        seed = order["seeds"][place] if "seeds" in order else order["seed"] + place
        return self.put_file(png(size["width"], size["height"], seed))

    def put_file(self, content: bytes, content_type: str = "image/png") -> str:
        path = f"/files/{uuid4()}"
        self.answers[path] = sends(200, content, content_type=content_type)
        return self.url + path

    # --- What it does -----------------------------------------------------------------------------------------------
    def answer_to(self, asked: Asked) -> Reply:
        path = urlsplit(asked.path).path
        if asked.method == "POST" and path == "/generate":
            return self._take(asked)
        if path.startswith("/status/"):
            return self._status(path.removeprefix("/status/"))
        if path.startswith("/result/"):
            return sends_json(200, {"images": self.finished[path.removeprefix("/result/")]["images"], "seed": 1})
        return super().answer_to(asked)

    def posts(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.path.startswith("/generate")]

    def polls(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.path.startswith("/status")]

    def _take(self, asked: Asked) -> Reply:
        if self._posts:
            return self._posts.pop(0)
        order, key = json.loads(asked.body), asked.headers["Idempotency-Key"]
        hooks = parse_qs(urlsplit(asked.path).query).get("fal_webhook", [""])
        order.setdefault("callback_url", hooks[0])
        request_id = self.by_key.setdefault(key, self.next_id or f"req-{uuid4()}")
        self.next_id = ""
        self.orders[request_id] = order
        if self.is_instant:
            return sends_json(200, self.result(request_id))
        named = {"request_id": request_id} if self.names_requests else {}
        return sends_json(202, {**named, "status": "queued"})

    def _status(self, request_id: str) -> Reply:
        if request_id in self.finished:
            done = dict(self.finished[request_id])
            if "image_size" in self.orders.get(request_id, {}) and not done.get("error"):
                del done["images"]  # a queue keeps its results at an address of their own
            return sends_json(200, done)
        if request_id not in self.orders:
            return sends_json(404, {"detail": "no such request"})
        return sends_json(202, {"status": "IN_PROGRESS"})

    def deliver(self, address: str, said: Any, **how: Any) -> Any:
        """Post a webhook to the product, see `deliver` below."""
        return deliver(address, said, **how)


def deliver(
    address: str,
    said: Any,
    *,
    delivery_id: str = "",
    age_seconds: float = 0,
    sign: Any = None,
    secret: str = HMAC_SECRET,
    **headers: str,
) -> Any:
    """Post a signed webhook to the product, through its URLs and middleware. The response."""
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    stamp = str(int(time.time() - age_seconds))
    delivery_id = delivery_id or f"msg_{uuid4().hex}"
    signature = (sign or sign_hmac)(f"{delivery_id}.{stamp}.".encode() + body, secret)
    all_headers = {
        "webhook-id": delivery_id, "webhook-timestamp": stamp, "webhook-signature": signature, **headers,
    }  # fmt: skip
    sent = {name: value for name, value in all_headers.items() if value is not None}
    return Client().post(address, body, content_type="application/json", headers=sent)


def sign_hmac(signed: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def sign_ed25519(signed: bytes, secret: str = "") -> str:
    return "v1a," + base64.b64encode(ED25519_KEY.sign(signed)).decode()


def png(width: int, height: int, seed: int = 1) -> bytes:
    return encoded(width, height, seed, "PNG")


def encoded(width: int, height: int, seed: int, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(picture(width, height, seed)).save(buffer, file_format, **options)
    return buffer.getvalue()


def sends_json(status: int, said: Any) -> Reply:
    return sends(status, json.dumps(said).encode(), content_type="application/json")
