"""A signal ends a loop, wherever in its wait it comes."""

import random
import signal
import time

import pytest

from tenkaigen.signals import Stop

ROUNDS = 500
SECONDS_MAX = 30


@pytest.fixture(autouse=True)
def alarm():
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


def test_a_signal_at_any_moment_of_a_wait_is_heard():
    """Some two thousand such rounds lock an Event up for ever: its `set` waits for the `wait` that it interrupts."""
    luck, until = random.Random(5), time.monotonic() + SECONDS_MAX
    for _ in range(ROUNDS):
        stop = Stop(signal.SIGALRM)
        signal.setitimer(signal.ITIMER_REAL, luck.uniform(0.0001, 0.002))
        while not stop.wait(0.00001):
            assert time.monotonic() < until, "a signal was not heard"


def test_who_was_told_once_is_told_again():
    stop = Stop()
    assert not stop.wait(0)
    stop.ask()
    assert [stop.wait(0), stop.wait(10), stop.wait(0)] == [True] * 3
