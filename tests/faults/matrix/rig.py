"""The servers and processes of the matrix: its own PostgreSQL, Valkey and bucket, and a zygote that forks the rest."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Client, Connection
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import psutil

from tenkaigen.embedded import Server, prepare_postgres, prepare_valkey
from tenkaigen.processes import spawn
from tests import s3_shim
from tests.fake_provider import API_SECRET, HMAC_SECRET
from tests.faults.matrix.proxy import Proxy

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS_MAX = 300.0  # of the zygote, which imports everything
WAIT_SECONDS_MAX = 120.0  # only what will never come is waited for so long, also where a machine stands still
ANSWER_SECONDS_MAX = 1800.0  # the last look of a long run reads every file of the store
# What production counts in tens of seconds, shorter where a row waits for it and longer where none does: a machine that
# stands still for a moment must not break what nobody has broken.
TIMES = {
    "LEASE_SECONDS": "1.5",
    "HEARTBEAT_SECONDS": "0.3",
    "STALL_SECONDS": "600",
    "HANG_SECONDS": "600",
    "RETRY_BASE_SECONDS": "0.05",
    "STORE_RETRY_SECONDS": "0.05",
    "REMOTE_TICK_SECONDS": "0.02",
    "REMOTE_RETRY_SECONDS": "0.05",
}


class MatrixError(AssertionError):
    """The product did something that it must not do."""


@dataclass
class Child:
    """One forked process."""

    id: int
    role: str
    answer_file: Path
    pid: int = 0
    exit_code: int | None = None

    @property
    def is_stopped(self) -> bool:
        try:
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)
        except psutil.NoSuchProcess:
            return False

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass
class Running:
    """A server process that can be killed and started again."""

    server: Server
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = self.server.program
        program.before_start()
        with self.log.open("ab") as output:
            self.process = spawn(program.argv, output=output, env=program.env, cwd=program.cwd, account=program.account)
        wait_until(self.server.is_ready, f"{program.name} does not start")

    def stop(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(timeout=WAIT_SECONDS_MAX)


@dataclass
class Rig:
    """Everything a row needs."""

    folder: Path
    postgres: Running
    valkey: Running
    redis_proxy: Proxy
    shim: s3_shim.Shim
    zygote: subprocess.Popen[str] = field(init=False)
    is_ready: bool = False
    children: dict[int, Child] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    servant: Connection | None = None
    cpu_seconds: Counter[str] = field(default_factory=Counter)  # by role

    def begin(self, role: str, failpoints: str = "", **facts: Any) -> Child:
        """Fork a process that plays a role."""
        child = Child(next(self.numbers), role, self.folder / "answers" / f"{time.monotonic_ns()}.json")
        self.children[child.id] = child
        order = {
            "id": child.id,
            "role": role,
            "failpoints": failpoints,
            "facts": facts,
            "answer": str(child.answer_file),
        }
        assert self.zygote.stdin is not None
        self.zygote.stdin.write(json.dumps(order) + "\n")
        self.zygote.stdin.flush()
        wait_until(lambda: child.pid, f"{role} was not forked")
        return child

    def is_soon(self, what: Callable[[], object], seconds: float) -> bool:
        """Whether something comes true within so many seconds."""
        until = time.monotonic() + seconds
        while not what() and time.monotonic() < until:
            time.sleep(0.005)
        return bool(what())

    def end(self, child: Child, seconds: float = WAIT_SECONDS_MAX) -> int:
        """Wait for a process; its exit code, negative for a signal."""
        wait_until(lambda: child.exit_code is not None, f"{child.role} does not end", seconds)
        del self.children[child.id]
        assert child.exit_code is not None
        return child.exit_code

    def ask(self, role: str, **facts: Any) -> Any:
        """Let the servant, a process that lives as long as the rig, play a role, and return what it answered."""
        if self.servant is None:
            address = str(self.folder / "servant")
            child = self.begin("serve", address=address)
            wait_until(lambda: child.exit_code is not None or self._has_servant(address), "no servant")
            assert self.servant is not None, self.log_tail()
        self.servant.send((role, facts))
        if not self.servant.poll(ANSWER_SECONDS_MAX):
            raise MatrixError(f"{role} does not end: {self.log_tail()}")
        is_good, answer = self.servant.recv()
        if not is_good:
            raise MatrixError(f"{role}: {answer}")
        return answer

    def _has_servant(self, address: str) -> bool:
        try:
            self.servant = Client(address)
        except (FileNotFoundError, ConnectionRefusedError):  # bound, and does not listen yet
            return False
        return True

    def answer(self, child: Child) -> Any:
        """Wait for a process that must end well, and return what it answered."""
        if code := self.end(child):
            raise MatrixError(f"{child.role} ended with {code}: {self.log_tail()}")
        answer = json.loads(child.answer_file.read_text())
        child.answer_file.unlink()
        return answer

    def log_tail(self) -> str:
        return (self.folder / "zygote.log").read_text()[-2500:]

    def failpoints_hit(self) -> list[str]:
        """Every failpoint that went off, once for each time."""
        log = self.folder / "failpoints.log"
        return log.read_text().split() if log.exists() else []

    def listen(self) -> None:
        assert self.zygote.stdout is not None
        for line in self.zygote.stdout:
            fact = json.loads(line)
            self.is_ready = self.is_ready or "ready" in fact
            if child := self.children.get(fact.get("id")):
                child.pid = fact.get("pid", child.pid)
                self.cpu_seconds[child.role] += fact.get("cpu_seconds", 0.0)
                child.exit_code = fact.get("ended", child.exit_code)


def wait_until(what: Callable[[], object], otherwise: str, seconds: float = WAIT_SECONDS_MAX) -> None:
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            raise MatrixError(f"{otherwise} within {seconds} s")
        time.sleep(0.005)


@contextmanager
def standing(folder: Path) -> Iterator[Rig]:
    """Start everything, and end it by its id, whatever happens in between."""
    for name in ("answers", "servers"):
        (folder / name).mkdir()
    with ExitStack() as stack:
        shim = stack.enter_context(s3_shim.running())
        s3_shim.empty(shim)
        # Written down at every commit: an answered request must survive the server's death.
        postgres = Running(prepare_postgres(folder / "servers", is_durable=True), folder / "postgres.log")
        valkey = Running(prepare_valkey(folder / "servers", is_durable=False), folder / "valkey.log")
        for server in (postgres, valkey):
            server.start()
            stack.callback(_end, server)
        proxy = Proxy(int(urlsplit(valkey.server.url).port or 0))
        stack.callback(proxy.close)
        rig = Rig(folder, postgres, valkey, proxy, shim)
        rig.zygote = _start_zygote(rig)
        stack.callback(_end_children, rig)
        Thread(target=rig.listen, name="zygote-lines", daemon=True).start()
        wait_until(lambda: rig.is_ready or rig.zygote.poll() is not None, "no zygote", START_SECONDS_MAX)
        if not rig.is_ready:
            raise MatrixError(f"the zygote ended: {rig.log_tail()}")
        yield rig


def _start_zygote(rig: Rig) -> subprocess.Popen[str]:
    redis = urlsplit(rig.valkey.server.url)
    environment = {
        **os.environ,
        **TIMES,
        "DJANGO_SETTINGS_MODULE": "tests.faults.matrix.settings",
        "DATABASE_URL": rig.postgres.server.url,
        "REDIS_URL": redis._replace(netloc=f":{redis.password}@127.0.0.1:{rig.redis_proxy.port}").geturl(),
        "MATRIX_S3_URL": rig.shim.url,
        "FAILPOINT_LOG": str(rig.folder / "failpoints.log"),
        "TENKAIGEN_TEST_DIR": str(rig.folder / "files"),
        "ENGINE": "tests.fake_engine",
        "SECRET_KEY": "matrix-only-" + "x" * 50,
        "EMBEDDED": "1",
        "DEBUG": "0",
        "SITE_URL": "https://tenkai.example.com",
        "PROVIDER_SECRET_FAKE": API_SECRET,
        "PROVIDER_SECRET_HOOK": HMAC_SECRET,
    }
    with (rig.folder / "zygote.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.matrix.zygote"],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip


def _end_children(rig: Rig) -> None:
    for child in list(rig.children.values()):
        if child.pid and child.exit_code is None:
            child.send(signal.SIGKILL)
    assert rig.zygote.stdin is not None
    rig.zygote.stdin.close()
    try:
        rig.zygote.wait(timeout=10)
    except subprocess.TimeoutExpired:
        rig.zygote.kill()


def _end(server: Running) -> None:
    if server.process is not None and server.process.poll() is None:
        server.process.send_signal(server.server.program.stop_signal)
        server.process.wait(timeout=30)
