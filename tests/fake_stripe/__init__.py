"""A small Stripe with today's object shapes (API version 2026-05-27.dahlia), for tests and for `BILLING=fake make run`.

    with running() as stripe:            # over HTTP, with webhooks kept in `stripe.store.events`
        stripe.clock.go_to(...)          # renews subscriptions on the way

By hand: `python -m tests.fake_stripe --port 12111`, then look at http://127.0.0.1:12111/.

Only what the product uses is here, and nobody's card is charged. Clocks run forward only.
"""

from tests.fake_stripe.server import FakeStripe, running
from tests.fake_stripe.store import API_VERSION

__all__ = ["API_VERSION", "FakeStripe", "running"]
