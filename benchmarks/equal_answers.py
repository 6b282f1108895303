"""How far apart the answers for known and unknown addresses are: sign-in, sign-up, reset and invitation.

    python benchmarks/equal_answers.py [--tries 200]

With the product's own password hasher, in this process, known and unknown in turns. The figures are the differences of
the medians in milliseconds. On a busy machine they say little.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import figures, site

BAR_MS = 5.0
KNOWN = "known@example.com"
LOCAL = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--tries", type=int, default=200, help="of each kind")
    options = parser.parse_args()
    tries = 2 if options.quick else options.tries
    report = figures.Report("equal answers: known against unknown addresses")
    os.environ |= {"EMAIL_URL": "dummymail://", "EMAIL_CONFIRMATION": "1"}
    with site.scratch():
        from django.test import override_settings

        with override_settings(CACHES={"default": LOCAL, "sessions": LOCAL | {"LOCATION": "sessions"}}):
            compare(report, tries)
    return report.end(is_strict=options.strict)


def compare(report: figures.Report, tries: int) -> None:
    from accounts.services import create_account

    create_account(KNOWN, "correct horse battery")
    for name, ask in (("sign-in", sign_in), ("sign-up", sign_up), ("reset", reset), ("invitation", invite)):
        ask(KNOWN), ask(unknown())
        taken: dict[str, list[float]] = {"known": [], "unknown": []}
        for _ in range(tries):
            taken["known"].append(ask(KNOWN))
            taken["unknown"].append(ask(unknown()))
        for kind, values in taken.items():
            report.show(f"{name}, {kind}", values, "ms")
        apart = abs(statistics.median(taken["known"]) - statistics.median(taken["unknown"]))
        report.hold(f"{name}: medians apart, ms", [apart], at_most=BAR_MS)


def unknown() -> str:
    return f"{uuid4().hex[:5]}@example.com"  # as long as the known one


def sign_in(email: str) -> float:
    return timed(stranger(), "/accounts/login/", login=email, password="not the right one")


def sign_up(email: str) -> float:
    return timed(stranger(), "/accounts/signup/", email=email, password1="a long and good one")


def reset(email: str) -> float:
    return timed(stranger(), "/accounts/password/reset/", email=email)


def invite(email: str) -> float:
    from accounts.services import create_account

    client = stranger()
    client.force_login(create_account(f"{uuid4().hex}@example.com", None))  # a team sends a few a day only
    return timed(client, "/team/invitations", email=email, role="member")


def stranger() -> Any:
    from django.test import Client

    return Client(SERVER_NAME="localhost")


def timed(client: Any, path: str, **form: str) -> float:
    """Milliseconds of one request; the limits begin anew before it."""
    from django.core.cache import cache

    cache.clear()
    post: Callable[..., Any] = client.post
    began = time.perf_counter()
    answer = post(path, form)
    took = 1000 * (time.perf_counter() - began)
    assert answer.status_code in (200, 302), (path, answer.status_code)
    return took


if __name__ == "__main__":
    sys.exit(main())
