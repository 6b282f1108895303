"""PostgreSQL and Valkey for laptops and tests: the servers of two Python wheels, started on loopback.

The wheels' own start functions are not used: as root they make system users and open up folders. Here root
drops to an unprivileged user, both servers ask for a password, and whoever starts them decides when they end.
Production sets DATABASE_URL and REDIS_URL instead. See docs/operations/embedded.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tenkaigen.embedded import places, postgres, valkey
from tenkaigen.embedded.errors import CannotStart
from tenkaigen.embedded.state import State
from tenkaigen.supervisor import Program

__all__ = ["CannotStart", "Server", "prepare_postgres", "prepare_valkey"]


@dataclass(frozen=True)
class Server:
    """A server that is ready to be started: the program, where it will answer, and how to see that it does."""

    program: Program
    url: str
    kind: postgres.Postgres | valkey.Valkey

    def is_ready(self) -> bool:
        return self.kind.is_ready()


def prepare_postgres(var: Path, *, is_durable: bool) -> Server:
    """Make the database cluster under `var` when there is none and return how to start it.

    Without `is_durable` a power cut may destroy it, and it is several times as fast: for tests.

    Raises:
        CannotStart: with a sentence for the person at the terminal.
    """
    state = State.load(var)
    place = places.find(var, state)
    kind = postgres.Postgres(place=place, password=state.postgres_password, port=state.free_port("postgres"))
    kind.create(is_new_password=state.is_new)
    return Server(kind.program(is_durable=is_durable), kind.url, kind)


def prepare_valkey(var: Path, *, is_durable: bool) -> Server:
    """Like `prepare_postgres`. Without `is_durable` everything in it ends with the process."""
    state = State.load(var)
    place = places.find(var, state)
    kind = valkey.Valkey(place=place, password=state.valkey_password, port=state.free_port("valkey"))
    kind.create(is_durable=is_durable)
    return Server(kind.program(), kind.url, kind)
