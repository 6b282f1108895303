"""How a signal ends a loop."""

import signal
from queue import Empty, SimpleQueue
from types import FrameType


class Stop:
    """Asked for by a signal, and waited for by the thread that the signal interrupts.

    Not an Event: its `set` takes a lock that the interrupted `wait` may hold, and then neither goes on. Putting into a
    SimpleQueue is reentrant by its documentation.
    """

    def __init__(self, *numbers: int) -> None:
        self._asked: SimpleQueue[int] = SimpleQueue()
        for number in numbers:
            signal.signal(number, self.ask)

    def ask(self, number: int = 0, frame: FrameType | None = None) -> None:
        self._asked.put(number)

    def wait(self, seconds: float) -> bool:
        """Whether it was asked for, at the latest after so many seconds. Who was told once is told again."""
        try:
            self.ask(self._asked.get(timeout=seconds))
        except Empty:
            return False
        return True
