"""From the hub to the shelf: every file verified, then `models.lock`. An operator's act; workers never come here.

A model is put together beside the shelf, in `.fetching`, and takes its place in one move when every file is there and
right. Until then nothing that was installed is touched. A locked model is fetched as the lock says or not at all;
only `update` may change what the lock says.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from generation.engine import ModelUnavailable, lockfile, manifest
from generation.engine.hub import FetchError, Hub
from generation.engine.loading import Shelf, check_index
from generation.engine.lockfile import LockedFile, LockedModel
from generation.engine.manifest import Item, Manifest

# The hub keeps the SHA-256 of everything larger than 10 MB; what is smaller has git's own hash.
SMALL_BYTES_MAX = 10 * 2**20
# Left free on the disk: for the lock, and for whoever else writes there meanwhile.
SPARE_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be on the shelf, file by file, and what the lock says now."""

    name: str
    manifest: Manifest
    wanted: LockedModel
    locked: LockedModel | None

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.wanted.files.values())

    def added(self) -> list[str]:
        return sorted(self.wanted.files.keys() - self._before().keys())

    def removed(self) -> list[str]:
        return sorted(self._before().keys() - self.wanted.files.keys())

    def changed(self) -> list[str]:
        before = self._before()
        return sorted(path for path, file in self.wanted.files.items() if path in before and before[path] != file)

    def _before(self) -> dict[str, LockedFile]:
        return self.locked.files if self.locked else {}


@dataclass(frozen=True, slots=True)
class Progress:
    path: str
    bytes_done: int
    bytes_total: int


@contextlib.contextmanager
def turn(shelf: Shelf) -> Iterator[None]:
    """Only one may fetch into a shelf at a time. Raises: FetchError, when another does."""
    workshop = shelf.models_dir / ".fetching"
    workshop.mkdir(parents=True, exist_ok=True)
    with open(workshop / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FetchError(f"Somebody else is fetching into {shelf.models_dir} just now.") from error
        yield


def plan(shelf: Shelf, name: str, hub: Hub, *, update: bool = False) -> Plan:
    """Find out what `fetch` would put on the shelf. Brings only small files, into `.fetching`.

    Args:
        update: look at the newest revision instead of the locked one.

    Raises:
        FetchError: not fetchable, or the hub has other contents than the lock says.
        ModelUnavailable: not in the catalogue, a damaged lock, or a pipeline the catalogue does not describe.
    """
    spec = shelf.spec(name)
    if not spec.repository:
        raise FetchError(f"{name} is shipped with TenkaiGen; there is nothing to fetch.")
    locked = lockfile.read(shelf.lock_file).get(name)
    is_kept = locked is not None and not update
    chosen = manifest.as_locked(spec, hub, locked) if locked and is_kept else manifest.newest(spec, hub)
    staged = _staged(shelf, name, chosen.revision, chosen.adapter_revision)
    files = locked.files if locked and is_kept else {item.path: _describe(item, staged, hub) for item in chosen.items}
    _obtain_index(chosen, files, staged, hub)
    check_index(staged, spec)
    return Plan(name, chosen, LockedModel(chosen.revision, files, chosen.adapter_revision), locked)


def fetch(shelf: Shelf, plan: Plan, hub: Hub, on_progress: Callable[[Progress], None] = lambda progress: None) -> bool:
    """Bring what is missing, verify all of it, put it on the shelf, write the lock. Repeated, it goes on where it was.

    Returns:
        Whether anything changed: False, when everything lay there already and the lock said so.

    Raises:
        FetchError: a file is not what it should be, the disk is too small, the lock cannot be written, or foreign files
            lie in the folder.
    """
    folder, wanted = shelf.folder(plan.name), plan.wanted
    staged = _staged(shelf, plan.name, wanted.revision, wanted.adapter_revision)
    if _is_installed(folder, plan):
        shutil.rmtree(staged.parent, ignore_errors=True)
        return False
    _check_folder(folder, plan)
    _check_lock(shelf)
    for path, file in wanted.files.items():
        _reuse(folder / path, staged / path, file)
    _check_space(staged, wanted)
    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        on_progress(Progress(item.path, done, plan.bytes))

    for item in plan.manifest.items:
        expected = wanted.files[item.path]
        target = staged / item.path
        on_bytes(expected.size if target.exists() else _part_bytes(target))
        _obtain(item, expected, target, hub, on_bytes)
    _check_staged(staged, wanted)
    _install(staged, folder)
    lockfile.write(shelf.lock_file, lockfile.read(shelf.lock_file) | {plan.name: wanted})
    shutil.rmtree(staged.parent, ignore_errors=True)
    return True


def _is_installed(folder: Path, plan: Plan) -> bool:
    try:
        lockfile.verify(folder, plan.wanted)
    except ModelUnavailable:
        return False
    return plan.locked == plan.wanted


def _describe(item: Item, staged: Path, hub: Hub) -> LockedFile:
    """Size and hash of a file that is not locked yet: the hub's word for a large one, for a small one our own."""
    if item.remote.sha256:
        return LockedFile(item.remote.size, item.remote.sha256)
    if item.remote.size > SMALL_BYTES_MAX or not item.remote.git_id:
        raise FetchError(f"The hub knows no hash of {item.path}.")
    _obtain(item, None, staged / item.path, hub)
    return LockedFile(item.remote.size, lockfile.sha256(staged / item.path))


def _obtain_index(chosen: Manifest, files: dict[str, LockedFile], staged: Path, hub: Hub) -> None:
    """First of all: what it asks for decides whether the rest is worth fetching."""
    for item in chosen.items:
        if item.path == "model_index.json":
            _obtain(item, files[item.path], staged / item.path, hub)


def _obtain(
    item: Item,
    expected: LockedFile | None,
    target: Path,
    hub: Hub,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> None:
    """The file at `target`, which then is what it should be. What is not, is removed, so that the next run is clean."""
    if target.exists():
        if _is_right(target, item, expected):
            return
        target.unlink()
    part = _part(target)
    hub.download(item.snapshot, item.remote, part, on_bytes)
    if not _is_right(part, item, expected):
        part.unlink()
        raise FetchError(f"{item.path} arrived with another hash than it should have. It was thrown away.")
    os.replace(part, target)


def _is_right(file: Path, item: Item, expected: LockedFile | None) -> bool:
    git_id = item.remote.git_id
    return (expected is None or _is(file, expected)) and (not git_id or _git_id(file) == git_id)


def _git_id(file: Path) -> str:
    """The name git gives these contents (git-hash-object): only for small files."""
    contents = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(contents) + contents, usedforsecurity=False).hexdigest()


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _part_bytes(target: Path) -> int:
    part = _part(target)
    return part.stat().st_size if part.exists() else 0


def _staged(shelf: Shelf, name: str, revision: str, adapter_revision: str) -> Path:
    return shelf.models_dir / ".fetching" / name / "-".join(filter(None, (revision[:16], adapter_revision[:16])))


def _check_folder(folder: Path, plan: Plan) -> None:
    """Nothing is replaced that the lock does not know: it may be somebody's work."""
    if folder.is_symlink():
        raise FetchError(f"{folder} is a link. Set TENKAIGEN_MODELS_DIR to where the models shall lie instead.")
    if not folder.exists():
        return
    known = plan.locked.files if plan.locked else {}
    for path in lockfile.list_files(folder):
        if path not in known and not _is(folder / path, plan.wanted.files.get(path)):
            raise FetchError(f"{folder / path} is not a file of this model: move it away first.")


def _check_lock(shelf: Shelf) -> None:
    """Before the first of many gigabytes, not after the last: a container's own files cannot be written."""
    if not os.access(shelf.lock_file.parent, os.W_OK):
        raise FetchError(f"{shelf.lock_file} cannot be written: name a place that can with TENKAIGEN_MODELS_LOCK.")


def _reuse(installed: Path, target: Path, expected: LockedFile) -> None:
    if not target.exists() and installed.is_file() and _is(installed, expected):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(installed, target)
        except OSError:
            shutil.copy2(installed, target)


def _is(file: Path, expected: LockedFile | None) -> bool:
    return expected is not None and LockedFile(file.stat().st_size, lockfile.sha256(file)) == expected


def _check_space(staged: Path, wanted: LockedModel) -> None:
    missing = sum(
        file.size - _part_bytes(staged / path) for path, file in wanted.files.items() if not (staged / path).exists()
    )
    free = shutil.disk_usage(staged).free
    if missing and free < missing + SPARE_BYTES:
        raise FetchError(
            f"{missing / 2**30:.1f} GiB have to be fetched, and {staged.parents[2]} has {free / 2**30:.1f} GiB free."
        )


def _check_staged(staged: Path, wanted: LockedModel) -> None:
    for file in staged.rglob("*"):
        if file.is_file() and file.relative_to(staged).as_posix() not in wanted.files:
            file.unlink()  # of an earlier run, with another catalogue
    lockfile.verify(staged, wanted)


def _install(staged: Path, folder: Path) -> None:
    aside = staged.parent / "replaced"
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        os.replace(folder, aside)
    os.replace(staged, folder)
