"""`models.lock`: which revision of a model is installed, and size and SHA-256 of each of its files.

The lock is written where the files were seen (`fetch_model`, `lock_starter`) and believed everywhere else. A hash
is never invented: what is not in the lock does not load.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from generation.engine import ModelUnavailable

# An allow-list, case and all: `.Safetensors` once slipped through a deny-list elsewhere and was unpickled.
SUFFIXES_ALLOWED = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja", ".md", ".png"})
SAFETENSORS_HEADER_BYTES_MAX = 100 * 2**20
FILES_MAX = 500


@dataclass(frozen=True, slots=True)
class LockedFile:
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LockedModel:
    revision: str  # 40 hex digits
    files: dict[str, LockedFile]  # by path inside the model's folder, with forward slashes
    adapter_revision: str = ""  # 40 hex digits where the catalogue's entry has an adapter: it has its own repository


def read(lock_file: Path) -> dict[str, LockedModel]:
    """Raises: ModelUnavailable, when the file is not a lock. A missing file is an empty lock."""
    if not lock_file.exists():
        return {}
    try:
        models = json.loads(lock_file.read_text("utf-8"))
        return {
            name: LockedModel(
                revision=_hex(entry["revision"], 40),
                files={
                    path: LockedFile(int(file["size"]), _hex(file["sha256"], 64))
                    for path, file in entry["files"].items()
                },
                adapter_revision=_hex(entry["adapter_revision"], 40) if "adapter_revision" in entry else "",
            )
            for name, entry in models.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnavailable(f"{lock_file.name} is damaged: {error}") from error


def write(lock_file: Path, models: dict[str, LockedModel]) -> None:
    """Replace the lock in one move, so that a reader sees the old one or the new one."""
    entries = {name: asdict(models[name]) for name in sorted(models)}
    for entry in entries.values():
        if not entry["adapter_revision"]:
            del entry["adapter_revision"]
    text = json.dumps(entries, indent=2, sort_keys=True) + "\n"
    with tempfile.NamedTemporaryFile("w", dir=lock_file.parent, delete=False, encoding="utf-8") as draft:
        draft.write(text)
    os.chmod(draft.name, 0o644)
    os.replace(draft.name, lock_file)


def describe(folder: Path, revision: str = "") -> LockedModel:
    """Hash what lies in `folder`. Without a revision the contents name themselves: two equal folders, one revision.

    Raises:
        ModelUnavailable: the folder is missing or holds a file that may not be loaded.
    """
    files = {path: LockedFile((folder / path).stat().st_size, sha256(folder / path)) for path in list_files(folder)}
    if not revision:
        listing = "".join(f"{file.sha256}  {path}\n" for path, file in sorted(files.items()))
        revision = hashlib.sha256(listing.encode()).hexdigest()[:40]
    return LockedModel(revision, files)


def verify(folder: Path, locked: LockedModel) -> None:
    """Refuse a folder that is not, file by file, what the lock says.

    Raises:
        ModelUnavailable: a file is missing, too many, of another size or hash, or of a kind that may not be loaded.
    """
    present = set(list_files(folder))
    if missing := sorted(locked.files.keys() - present):
        raise ModelUnavailable(f"{missing[0]} is missing from the model.")
    if extra := sorted(present - locked.files.keys()):
        raise ModelUnavailable(f"{extra[0]} is not in models.lock.")
    for path, expected in locked.files.items():
        file = folder / path
        if file.stat().st_size != expected.size or sha256(file) != expected.sha256:
            raise ModelUnavailable(f"{path} is not the file that models.lock describes.")


def list_files(folder: Path) -> list[str]:
    """Paths inside `folder`, sorted; every one of a kind that cannot run code when it is loaded.

    Raises:
        ModelUnavailable: no such folder, a link, or a file of another kind (a pickle, a script).
    """
    if not folder.is_dir():
        raise ModelUnavailable("The model's folder is missing.")
    paths = []
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        if file.is_symlink():
            raise ModelUnavailable(f"{path} is a link; model files must lie in the model's own folder.")
        if file.is_dir():
            continue
        if file.suffix not in SUFFIXES_ALLOWED:
            raise ModelUnavailable(f"{path} may not be loaded: only safetensors weights and plain text are.")
        if file.suffix == ".safetensors" and not _looks_like_safetensors(file):
            raise ModelUnavailable(f"{path} is called safetensors but is not.")
        paths.append(path)
    if len(paths) > FILES_MAX:
        raise ModelUnavailable(f"The model's folder holds {len(paths)} files; {FILES_MAX} is the most.")
    return paths


def sha256(file: Path) -> str:
    """Hash of the contents; read once per (path, modification time, size) and process."""
    status = file.stat()
    return _sha256(str(file.resolve()), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _sha256(path: str, modified_ns: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _looks_like_safetensors(file: Path) -> bool:
    """By content, not by name: eight bytes of header length, then a JSON object (safetensors format, README)."""
    with open(file, "rb") as opened:
        head = opened.read(9)
    length = int.from_bytes(head[:8], "little")
    return len(head) == 9 and head[8:] == b"{" and 2 <= length <= min(SAFETENSORS_HEADER_BYTES_MAX, file.stat().st_size)


def _hex(value: str, digits: int) -> str:
    if not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
        raise ValueError(f"{value!r} is not {digits} hex digits")
    return value
