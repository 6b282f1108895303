"""Named places where a test may break the product. Unarmed, which is always outside tests, each costs one comparison.

A process is armed by the setting `FAILPOINTS`: `finish.after_settle=kill`, or `draw.step=stop@3` for the third time it
comes by; several are separated by commas. `kill` and `stop` are the signals, `raise` raises `Broken`. Each one that
goes off first writes its name into the file `FAILPOINT_LOG`, so that a suite can tell which were never reached.
"""

import signal
import threading
from dataclasses import dataclass

from django.conf import settings

KNOWN = frozenset(
    {
        "submit.before_commit", "submit.after_commit", "submit.after_ring",
        "claim.before_commit", "claim.after_commit",
        "draw.step", "draw.done",
        "post.before_put", "post.after_put",
        "finish.after_images", "finish.after_settle", "finish.after_commit",
        "train.begin", "train.step", "train.before_checkpoint", "train.after_checkpoint_put", "train.after_checkpoint",
        "train.after_sample_put", "train.done", "train.before_finish", "train.after_version", "train.after_settle",
        "train.after_commit",
        "fail.before_commit", "recover.before_commit", "cancel.before_commit",
        "reserve.after_entries", "settle.after_entries", "grant.before_entries", "expire.before_entries",
        "billing.before_handling", "billing.before_grant",
        "remote.before_post", "remote.after_post", "remote.before_fetch", "remote.before_delivery",
        "remote.before_close", "webhook.before_commit",
    }
)  # fmt: skip
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class Broken(Exception):
    """What an armed failpoint raises."""


@dataclass(slots=True)
class _Armed:
    action: str
    times_left: int


_armed: dict[str, _Armed] | None = None


def failpoint(name: str) -> None:
    """Break here, if a test wants it."""
    global _armed
    if _armed is None:
        _armed = _parse(settings.FAILPOINTS)
    if _armed:
        _reach(name)


def arm(spec: str) -> None:
    """Arm this process from now on, instead of what it was armed with; an empty text disarms it."""
    global _armed
    _armed = _parse(spec)


def _parse(spec: str) -> dict[str, _Armed]:
    armed = {}
    for part in filter(None, spec.split(",")):
        name, _, act = part.partition("=")
        action, _, times = act.partition("@")
        assert name in KNOWN and (action in SIGNALS or action == "raise"), part
        armed[name] = _Armed(action, int(times or 1))
    return armed


def _reach(name: str) -> None:
    assert name in KNOWN, name
    assert _armed is not None
    armed = _armed.get(name)
    if armed is None:
        return
    armed.times_left -= 1
    if armed.times_left:
        return
    if settings.FAILPOINT_LOG:
        with open(settings.FAILPOINT_LOG, "a") as log:
            log.write(name + "\n")
    if armed.action == "raise":
        raise Broken(name)
    # To this very thread: one that is sent to the process may let it run on for a moment.
    signal.pthread_kill(threading.get_ident(), SIGNALS[armed.action])
