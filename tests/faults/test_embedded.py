"""The embedded servers, started, killed and started again; as root and as an ordinary user."""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from tenkaigen.embedded import CannotStart, Server, places, prepare_postgres, prepare_valkey
from tenkaigen.embedded.postgres import Postgres
from tenkaigen.embedded.state import State
from tenkaigen.processes import started_at, wait_until
from tenkaigen.supervisor import Supervisor

IS_ROOT = os.geteuid() == 0
PATIENCE_SECONDS = 90


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """The folder that stands for /var/lib/tenkaigen; removed with everything that root's tests put there."""
    folder = Path(tempfile.mkdtemp(prefix="tenkaigen-tests-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module", autouse=True)
def own_base(base: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "ROOT_BASE", base)
        yield


def private_var(parent: Path) -> Path:
    """Return the `var` of a checkout below a folder that only its owner can enter, like root's home."""
    private = parent / "private"
    private.mkdir(mode=0o700)
    folder = private / "var"
    folder.mkdir()
    return folder


@pytest.fixture
def var(tmp_path: Path) -> Path:
    """An empty one."""
    return private_var(tmp_path)


@pytest.fixture(scope="module")
def used_var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that many tests start servers in, one after the other: a new cluster costs seconds."""
    return private_var(tmp_path_factory.mktemp("used"))


class Running:
    """Both servers under a supervisor, ready to be used."""

    def __init__(self, var: Path) -> None:
        self.boss = Supervisor(run_dir=var / "run", log_dir=var / "log")
        self.boss.end_strays()
        self.valkey = self._start(prepare_valkey(var, is_durable=True))
        self.postgres = self._start(prepare_postgres(var, is_durable=True))
        assert self.boss.run_until(
            lambda: self.postgres.is_ready() and self.valkey.is_ready(), seconds=PATIENCE_SECONDS
        ), (var / "log" / "postgres.log").read_text()

    def _start(self, server: Server) -> Server:
        self.boss.start(server.program)
        return server

    def query(self, sql: str) -> object:
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchone() if cursor.description else None

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.valkey.url)

    def stop(self) -> None:
        self.boss.stop()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, own_base: None) -> Iterator[Running]:
    """One pair of servers for the tests that only look."""
    with Running(private_var(tmp_path_factory.mktemp("running"))) as servers:
        yield servers


def test_both_servers_answer_and_keep_what_they_were_told(used_var):
    with Running(used_var) as first:
        first.query("CREATE TABLE kept (word text)")
        first.query("INSERT INTO kept VALUES ('sunset')")
        first.redis().set("word", "mountain")
        addresses = first.postgres.url, first.valkey.url
    with Running(used_var) as second:
        assert second.query("SELECT word FROM kept") == ("sunset",)
        assert second.redis().get("word") == b"mountain"
        assert (second.postgres.url, second.valkey.url) == addresses


def test_the_application_role_is_no_superuser_but_can_make_test_databases(running):
    row = running.query("SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user")
    assert row == (False, True)
    assert running.query("SHOW server_encoding") == ("UTF8",)
    assert running.query("SHOW fsync") == ("on",)
    assert running.redis().config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_nobody_gets_in_without_the_password(running):
    wrong = running.postgres.url.replace(running.postgres.kind.password, "guess")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=running.valkey.kind.port).ping()


def test_passwords_are_in_no_argument_and_in_no_readable_file(running):
    for server in (running.postgres, running.valkey):
        assert not any(server.kind.password in argument for argument in server.program.argv)
    home = running.postgres.kind.place.home
    for name in ("postgres", "valkey"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "valkey" / "valkey.conf").stat().st_mode) == 0o600


def test_what_the_servers_remember_is_for_their_owner_only(var):
    State.load(var)
    assert stat.S_IMODE((var / "embedded.json").stat().st_mode) == 0o600


def test_the_servers_listen_on_loopback_only(running):
    assert running.query("SHOW listen_addresses") == ("127.0.0.1",)
    assert "unix_socket_directories=" in running.postgres.program.argv
    assert running.redis().config_get("bind") == {"bind": "127.0.0.1"}


def test_a_taken_port_is_replaced_and_the_new_one_remembered(var):
    state = State.load(var)
    port = state.free_port("postgres")
    assert State.load(var).free_port("postgres") == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        other = State.load(var).free_port("postgres")
    assert other != port
    assert State.load(var).ports == {"postgres": other}


def test_a_killed_server_comes_back_with_its_data(used_var):
    with Running(used_var) as running:
        running.query("CREATE TABLE survivor AS SELECT 1 AS number")
        for name in ("postgres", "valkey"):
            os.kill(running.boss.pid(name), signal.SIGKILL)
        running.boss.run_until(lambda: not running.boss.is_running("postgres"), seconds=PATIENCE_SECONDS)
        assert running.boss.run_until(
            lambda: running.boss.is_running("postgres") and running.postgres.is_ready() and running.valkey.is_ready(),
            seconds=PATIENCE_SECONDS,
        )
        assert running.query("SELECT number FROM survivor") == (1,)


OWNING = """
    import sys, time
    from pathlib import Path
    from tenkaigen.embedded import places
    places.ROOT_BASE = Path(sys.argv[2])
    from tests.faults.test_embedded import Running
    running = Running(Path(sys.argv[1]))
    print(running.boss.pid("postgres"), running.boss.pid("valkey"), flush=True)
    time.sleep(600)
"""


def killed_owner(var: Path, base: Path) -> list[int]:
    """Start the servers from another process, kill it, and return the servers' process ids."""
    argv = [sys.executable, "-c", textwrap.dedent(OWNING), str(var), str(base)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as owner:
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        owner.kill()
    assert len(pids) == 2
    return pids


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells orphans on Linux only; elsewhere the next start")
def test_servers_whose_launcher_was_killed_end_by_themselves(used_var, base):
    pids = killed_owner(used_var, base)
    assert wait_until(lambda: all(started_at(pid) is None for pid in pids), seconds=PATIENCE_SECONDS)


def test_the_start_after_a_crash_ends_what_still_runs(used_var, base):
    pids = killed_owner(used_var, base)
    with Running(used_var) as running:
        assert running.query("SELECT 1") == (1,)
        assert [started_at(pid) for pid in pids] == [None, None]


def test_a_pid_file_that_names_somebody_else_is_removed_and_that_process_left_alone(used_var):
    with Running(used_var) as running:
        data = running.postgres.kind.data
    bystander = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    try:
        (data / "postmaster.pid").write_text(f"{bystander.pid}\n{data}\n1\n5432\n\n127.0.0.1\n\nready\n")
        with Running(used_var) as running:
            assert running.query("SELECT 1") == (1,)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_half_made_cluster_is_made_anew(var):
    state = State.load(var)
    place = places.find(var, state)
    (place.make_folder("postgres.unfinished") / "PG_VERSION").write_text("18\n")
    with Running(var) as running:
        assert running.query("SELECT 1") == (1,)


def test_lost_passwords_are_replaced(var):
    with Running(var) as running:
        running.query("CREATE TABLE kept AS SELECT 1 AS number")
    old = State.load(var)
    (var / "embedded.json").unlink()
    new = State(path=var / "embedded.json", home=old.home)  # root's data could not be found without this
    new.save()
    place = places.find(var, new)
    Postgres(place=place, password=new.postgres_password, port=1).create(is_new_password=True)
    with Running(var) as running:
        assert old.postgres_password not in running.postgres.url
        assert running.query("SELECT number FROM kept") == (1,)


def test_missing_packages_are_named(var, monkeypatch):
    monkeypatch.setattr(places, "find_spec", lambda name: None)
    with pytest.raises(CannotStart, match=r"pip install -r requirements\.txt"):
        prepare_postgres(var, is_durable=True)


def test_a_damaged_state_is_a_sentence(var):
    (var / "embedded.json").write_text("{")
    with pytest.raises(CannotStart, match="cannot be read"):
        prepare_postgres(var, is_durable=True)


# What only root can be tested for. An ordinary user's run of these tests has no such user to drop to; the same run
# shows the other half, that everything works without being root.
only_as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: shows how root drops its privileges")


@only_as_root
def test_root_runs_both_as_nobody_outside_the_private_checkout(used_var, base):
    with Running(used_var) as running:
        for name in ("postgres", "valkey"):
            assert set(psutil.Process(running.boss.pid(name)).uids()) == {pwd.getpwnam("nobody").pw_uid}
        home = Path(State.load(used_var).home)
        assert home.parent == base
        assert (home.stat().st_uid, stat.S_IMODE(home.stat().st_mode)) == (0, 0o710)


@only_as_root
def test_root_refuses_a_home_that_others_can_write_to(var):
    place = places.find(var, State.load(var))
    place.home.chmod(0o777)
    with pytest.raises(CannotStart, match="open to others"):
        places.find(var, State.load(var))


@only_as_root
def test_root_refuses_data_that_belong_to_somebody_else(var):
    place = places.find(var, State.load(var))
    (place.home / "postgres").mkdir()
    with pytest.raises(CannotStart, match="should be a folder of user"):
        prepare_postgres(var, is_durable=True)


@only_as_root
def test_a_copied_checkout_gets_data_of_its_own_and_a_moved_one_keeps_its(var, tmp_path):
    home = places.find(var, State.load(var)).home
    copy = tmp_path / "copy"
    shutil.copytree(var, copy)
    assert places.find(copy, State.load(copy)).home != home
    moved = tmp_path / "moved"
    var.rename(moved)
    assert places.find(moved, State.load(moved)).home == home


@only_as_root
def test_an_ordinary_user_keeps_everything_under_var(base, monkeypatch):
    """In a forked process that really is another user, with programs that this user can reach."""
    programs = places._copy_programs(base)
    folder = Path(tempfile.mkdtemp(prefix="user-", dir=base))
    account = places._nobody()
    os.chown(folder, account.uid, account.gid)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
            monkeypatch.setattr(places, "_installed_programs", lambda: programs)
            with Running(folder) as running:
                assert running.query("SELECT 1") == (1,)
                assert running.redis().ping()
                assert {"postgres", "valkey"} <= {path.name for path in folder.iterdir()}
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
