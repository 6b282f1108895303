"""`BILLING=fake make run`: a stand-in for Stripe (tests/fake_stripe), so that a newcomer can buy without an account."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from tenkaigen.embedded import CannotStart

FAKE = "fake"  # the only BILLING there is
NAMES = ("STRIPE_SECRET_KEY", "STRIPE_API_HOST", "SITE_URL")


def check(given: Mapping[str, str], *, is_all_embedded: bool) -> None:
    """Refuse it beside anything real: its credits cost nothing. Raises: CannotStart."""
    asked = given.get("BILLING", "")
    if asked not in ("", FAKE):
        raise CannotStart(f"BILLING may be {FAKE!r} or not set, not {asked!r}.")
    if asked and not is_all_embedded:
        raise CannotStart("BILLING=fake is only for the embedded servers: unset DATABASE_URL and REDIS_URL.")
    if asked and any(given.get(name) for name in NAMES):
        raise CannotStart(f"BILLING=fake brings its own {', '.join(NAMES)}: unset yours.")


def environment(port: int, site_url: str) -> dict[str, str]:
    """What every process must know to meet it."""
    return {
        "STRIPE_API_HOST": f"http://127.0.0.1:{port}",
        "STRIPE_SECRET_KEY": "sk_test_" + "fake" * 6,
        "SITE_URL": site_url.rstrip("/"),
    }


def command(port: int, var: Path) -> tuple[str, ...]:
    """How to start it. It remembers its customers beside the database that names them."""
    return (sys.executable, "-m", "tests.fake_stripe", "--port", str(port), "--file", str(var / "fake-stripe.json"))
