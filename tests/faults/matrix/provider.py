"""The provider of the matrix: finishes what it is asked for, unless it is silent, and loses answers as it is told."""

from tests.fake_provider import FakeProvider
from tests.fake_web import Asked, Reply, hangs_up


class Provider(FakeProvider):
    """`answers_lost`: so many orders are taken without a word. Silent: it has taken an order and never finishes it."""

    def __init__(self) -> None:
        super().__init__()
        self.answers_lost = 0
        self.is_silent = False

    def ordered(self) -> int:
        """How many different orders there were; the same one again is no other."""
        return len({asked.headers["Idempotency-Key"] for asked in self.posts()})

    def order_of(self, job: str) -> str:
        """The id of a job's order; empty until it is there."""
        mine = [asked for asked in self.posts() if asked.headers["Idempotency-Key"].startswith(job)]
        return self.by_key.get(mine[-1].headers["Idempotency-Key"], "") if mine else ""

    def _take(self, asked: Asked) -> Reply:
        reply = super()._take(asked)
        if self.answers_lost:
            self.answers_lost -= 1
            return hangs_up()
        return reply

    def _status(self, request_id: str) -> Reply:
        if not self.is_silent and request_id in self.orders and request_id not in self.finished:
            self.finish(request_id)
        return super()._status(request_id)
