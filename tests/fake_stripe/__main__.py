"""`python -m tests.fake_stripe --port 12111 --file var/fake-stripe.json`: the fake until Ctrl-C, with its webhooks."""

import argparse
import signal
from pathlib import Path

from tenkaigen.signals import Stop
from tests.fake_stripe.server import FakeStripe


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.fake_stripe")
    parser.add_argument("--port", type=int, default=12_111)
    parser.add_argument("--file", type=Path, help="remembers everything here")
    given = parser.parse_args()
    fake = FakeStripe(port=given.port, file=given.file, delivers=True)
    fake.serve()
    print(f"A fake Stripe answers at {fake.url}", flush=True)
    stop = Stop(signal.SIGTERM, signal.SIGINT)
    while not stop.wait(60):
        pass
    fake.close()


if __name__ == "__main__":
    main()
