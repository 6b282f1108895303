"""Forks the product's processes from one that has imported everything, so that a kill costs no start.

Reads one JSON order a line, forks a child that plays its role, and writes a line when a child begins and when it ends.
It has no thread, no connection to the database and none to Redis, so that a child inherits nothing of the kind.
"""

import gc
import json
import os
import selectors
import signal
import sys
import traceback
from typing import Any

POLL_SECONDS = 0.005


def main() -> None:
    import django

    django.setup()
    from tests.faults.matrix import roles

    roles.warm_up()
    gc.collect()
    gc.freeze()  # else each child's first collection copies every page that it shares with this process
    # A child lets them in when it can answer them: one that is asked to end while it begins must not just die.
    signal.pthread_sigmask(signal.SIG_BLOCK, roles.ANSWERED)
    say({"ready": True})
    orders = selectors.DefaultSelector()
    orders.register(sys.stdin.fileno(), selectors.EVENT_READ)
    children: dict[int, int] = {}
    rest = b""
    while True:
        if orders.select(POLL_SECONDS):
            chunk = os.read(sys.stdin.fileno(), 65_536)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                order = json.loads(line)
                children[fork(order, roles)] = order["id"]
        while children:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if not pid:
                break
            cpu = used.ru_utime + used.ru_stime
            say({"id": children.pop(pid), "ended": os.waitstatus_to_exitcode(status), "cpu_seconds": cpu})


def fork(order: dict[str, Any], roles: Any) -> int:
    pid = os.fork()
    if pid:
        say({"id": order["id"], "pid": pid})
        return pid
    code = 1
    os.dup2(2, 1)  # what a role prints is no answer
    try:
        from tenkaigen import failpoints

        failpoints.arm(order["failpoints"])
        answer = getattr(roles, order["role"])(**order["facts"])
        with open(order["answer"], "w") as file:
            json.dump(answer, file)
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


def say(fact: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
