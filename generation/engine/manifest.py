"""Which files of which commits make a model: by the catalogue when it is new, by the lock from then on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from generation.engine import lockfile
from generation.engine.catalog import ModelSpec
from generation.engine.hub import FetchError, Hub, RemoteFile, Snapshot
from generation.engine.lockfile import LockedModel

PLAIN_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*")


@dataclass(frozen=True, slots=True)
class Item:
    """One file: where it comes from, and where it goes inside the model's folder."""

    snapshot: Snapshot
    remote: RemoteFile
    path: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one model. Every name is a plain one inside the folder, and of a kind that cannot run code."""

    revision: str
    adapter_revision: str  # empty without an adapter
    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        if len(self.items) > lockfile.FILES_MAX:
            raise FetchError(f"{len(self.items)} files are too many; {lockfile.FILES_MAX} is the most.")
        for item in self.items:
            if not PLAIN_PATH.fullmatch(item.path):
                raise FetchError(f"{item.path!r} is no name for a model's file.")
            if Path(item.path).suffix not in lockfile.SUFFIXES_ALLOWED:
                raise FetchError(f"{item.path} is never fetched: only safetensors weights and plain text are.")


def newest(spec: ModelSpec, hub: Hub) -> Manifest:
    """What the catalogue asks for, as it is on the hub now.

    Raises:
        FetchError: something the catalogue names is not there.
    """
    model = hub.snapshot(spec.repository)
    items: dict[str, Item] = {}
    for pattern in spec.files:
        found = {path: Item(model, file, path) for path, file in model.files.items() if _matches(path, pattern)}
        if not found:
            raise FetchError(f"{spec.repository} has no {pattern}: the catalogue has to be corrected first.")
        items |= found
    if spec.adapter is None:
        return Manifest(model.revision, "", tuple(items.values()))
    adapter = hub.snapshot(spec.adapter.repository)
    if spec.adapter.filename not in adapter.files:
        raise FetchError(f"{spec.adapter.repository} has no {spec.adapter.filename}.")
    last = Item(adapter, adapter.files[spec.adapter.filename], spec.adapter.path)
    return Manifest(model.revision, adapter.revision, (*items.values(), last))


def as_locked(spec: ModelSpec, hub: Hub, locked: LockedModel) -> Manifest:
    """The files of the lock, at the revisions of the lock.

    Raises:
        FetchError: the hub has other contents there, or none.
    """
    model = hub.snapshot(spec.repository, locked.revision)
    sources = {path: (model, path) for path in locked.files}
    has_adapter = spec.adapter is not None and spec.adapter.path in locked.files
    if (spec.adapter is not None, bool(locked.adapter_revision)) != (has_adapter, has_adapter):
        raise FetchError(f"The lock of {spec.name} is for another adapter than the catalogue's: look at --update.")
    if spec.adapter is not None:
        adapter = hub.snapshot(spec.adapter.repository, locked.adapter_revision)
        sources[spec.adapter.path] = (adapter, spec.adapter.filename)
    items = []
    for path, (snapshot, name) in sources.items():
        remote, expected = snapshot.files.get(name), locked.files[path]
        if remote is None or remote.size != expected.size or remote.sha256 not in ("", expected.sha256):
            raise FetchError(
                f"{path} of {snapshot.repository} is not what models.lock says, at the same revision. "
                "Nothing was changed here; look at --update."
            )
        items.append(Item(snapshot, remote, path))
    return Manifest(locked.revision, locked.adapter_revision, tuple(items))


def _matches(path: str, pattern: str) -> bool:
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
