"""Signatures of webhooks, as Standard Webhooks has them: over the id, the time and the raw body. Pure.

`webhook-id`, `webhook-timestamp` (Unix seconds) and `webhook-signature`, a list of `v1,<base64>` (HMAC-SHA256) and
`v1a,<base64>` (Ed25519) divided by spaces. What is signed is `{id}.{timestamp}.{body}`.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

AGE_SECONDS_MAX = 300  # to either side: clocks differ
SIGNATURES_MAX = 10
SECRET_BYTES_MIN = 24
HMAC, ED25519 = "hmac-sha256", "ed25519"
VERSIONS = {HMAC: "v1", ED25519: "v1a"}
PREFIXES = {HMAC: "whsec_", ED25519: "whpk_"}
_ID = re.compile(r"[\x21-\x7e]{1,100}")
_TIME = re.compile(r"\d{1,12}")


class BadSecret(Exception):
    """A configured secret cannot be one. For operators: `str(error)` does not show it."""


def is_well_formed(delivery_id: str, timestamp: str) -> bool:
    return bool(_ID.fullmatch(delivery_id) and "." not in delivery_id and _TIME.fullmatch(timestamp))


def is_fresh(timestamp: str, now: float) -> bool:
    return abs(now - int(timestamp)) <= AGE_SECONDS_MAX


def is_signed(scheme: str, secrets: Sequence[str], *, header: str, signed: bytes) -> bool:
    """Whether any signature in the header is right under any of the secrets.

    Raises:
        BadSecret: as `key_of`.
    """
    given = [text.partition(",") for text in header.split(" ")[:SIGNATURES_MAX]]
    decoded = [_decode(text) for version, _, text in given if version == VERSIONS[scheme]]
    judge = _is_hmac if scheme == HMAC else _is_ed25519
    # Every pair is looked at: how long it takes says nothing about which secret is in use.
    verdicts = [judge(key_of(scheme, secret), signature, signed) for secret in secrets for signature in decoded]
    return any(verdicts)


def content(delivery_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{delivery_id}.{timestamp}.".encode() + body


def key_of(scheme: str, secret: str) -> bytes:
    """The key that a configured text stands for: base64 behind its prefix, else (HMAC) the text itself.

    Raises:
        BadSecret: broken base64, or too short.
    """
    prefix = PREFIXES[scheme]
    is_coded = secret.startswith(prefix) or scheme == ED25519
    key = _decode(secret.removeprefix(prefix)) if is_coded else secret.encode()
    if scheme == ED25519 and len(key) != 32:
        raise BadSecret("An Ed25519 public key is 32 bytes in base64.")
    if len(key) < SECRET_BYTES_MIN:
        raise BadSecret(f"A webhook secret has at least {SECRET_BYTES_MIN} bytes; after {prefix} in base64.")
    return key


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_hmac(key: bytes, signature: bytes, signed: bytes) -> bool:
    return hmac.compare_digest(hmac.new(key, signed, hashlib.sha256).digest(), signature)


def _is_ed25519(key: bytes, signature: bytes, signed: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True
