"""Training pictures by address: a few at a time, in their order, by the guarded client alone. Network, no rows."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from generation.training_limits import UPLOAD_BYTES_MAX
from generation.uploads.zips import Entry
from tenkaigen.outgoing import Client, Limits, OutgoingError

AT_ONCE = 4  # each may hold `UPLOAD_BYTES_MAX` until it is its turn
FETCH_SECONDS_MAX = 10.0
NOTHING_THERE = "Nothing could be fetched from this address."


def fetched(urls: Sequence[str], client: Client | None = None, *, seconds_max: float) -> Iterator[Entry]:
    """What stands at addresses, whatever its server calls it. Those that are not reached in time are refused."""
    guarded = client or Client()
    deadline = time.monotonic() + seconds_max
    waiting, running = deque(urls), deque[Future[Entry]]()
    with ThreadPoolExecutor(AT_ONCE, "fetch") as threads:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running.append(threads.submit(_fetch, guarded, waiting.popleft(), deadline))
            yield running.popleft().result()


def _fetch(client: Client, url: str, deadline: float) -> Entry:
    seconds = min(FETCH_SECONDS_MAX, deadline - time.monotonic())
    if seconds <= 0:
        return Entry(url, refusal=NOTHING_THERE)
    try:
        answer = client.get(url, Limits(UPLOAD_BYTES_MAX, seconds_max=seconds))
    except OutgoingError as error:
        return Entry(url, refusal=str(error))
    # A server that says no reads like none: an answer's status is nobody's business.
    return Entry(url, answer.body) if answer.is_ok else Entry(url, refusal=NOTHING_THERE)
