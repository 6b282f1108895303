"""Files of people's own models on this machine: fetched once, checked, and the ones used longest ago go first.

A file is named after its content, so that several processes may share the folder: whoever comes second finds the very
file that it would have written. None is deleted that somebody may just have been given.
"""

import contextlib
import hashlib
import os
import tempfile
import threading
import time
from pathlib import Path

import structlog
from django.conf import settings

from generation import storage
from generation.engine import Lora
from generation.models import Job, ModelVersion
from tenkaigen import alarms

logger = structlog.get_logger(__name__)
KEEP_SECONDS = 1800.0  # since its last use: a batch that was given a path has loaded the file by then


class AdapterGone(Exception):
    """The version was deleted, or is not trained."""


class AdapterBroken(Exception):
    """The file in the store is not the one that was trained."""


class Adapters:
    """The adapters of one process. Safe to use from several threads."""

    def __init__(self, folder: Path | None = None, *, keep_seconds: float = KEEP_SECONDS) -> None:
        self._folder, self._keep_seconds = folder or settings.ADAPTER_DIR, keep_seconds
        self._lock = threading.Lock()
        self._checked: dict[str, tuple[int, int]] = {}  # by hash: when it was written, and its size, as it was checked

    def of(self, job: Job) -> tuple[Lora, ...]:
        """What a picture is drawn with: nothing for a job without a model of somebody's own.

        Raises:
            AdapterGone, AdapterBroken, StorageFailed: as `path_of`.
        """
        if not job.metadata.get("adapters") and job.model_version_id is None:
            return ()
        version = ModelVersion.objects.filter(pk=job.model_version_id).first() if job.model_version_id else None
        if version is None:
            raise AdapterGone("The version of this job is not there any more.")
        return (Lora(str(self.path_of(version))),)

    def path_of(self, version: ModelVersion) -> Path:
        """A file with this version's adapter, which stays for `KEEP_SECONDS` at least.

        Raises:
            AdapterGone: it was deleted, or is not trained.
            AdapterBroken: the store has another file than the row says. Each alarms.
            StorageFailed: the store does not answer.
        """
        if not version.is_ready:
            raise AdapterGone("This version was deleted.")
        path = self._folder / f"{version.adapter_sha256}.safetensors"
        with self._lock:
            is_here = self._is_good(path, version.adapter_sha256)
        if not is_here:
            # Not under the lock: the thread that draws must not wait for what another one fetches ahead.
            content = self._fetch(version)
            with self._lock:
                self._write(path, content)
                self._make_room(path)
        self._touch(path)
        return path

    def _is_good(self, path: Path, sha256: str) -> bool:
        try:
            status = path.stat()
            mark = (status.st_mtime_ns, status.st_size)
            if self._checked.get(sha256) == mark:
                return True
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return False
        if found != sha256:  # a disk that forgets; the store has it still
            logger.warning("adapter_copy_broken", file=path.name)
            return False
        self._checked[sha256] = mark
        return True

    def _fetch(self, version: ModelVersion) -> bytes:
        try:
            content = storage.fetch(version.adapter_key)
        except FileNotFoundError:
            alarms.ring("adapter_missing", version=str(version.pk))
            raise AdapterGone("The file of this version is not there any more.") from None
        if hashlib.sha256(content).hexdigest() != version.adapter_sha256:
            alarms.ring("adapter_broken", version=str(version.pk))
            raise AdapterBroken("The file of this version is not the one that was trained.")
        return content

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        status = path.stat()
        self._checked[path.stem] = (status.st_mtime_ns, status.st_size)

    def _touch(self, path: Path) -> None:
        # Only when it was last used: by when it was written the engine tells one file from another.
        with contextlib.suppress(FileNotFoundError):
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))

    def _make_room(self, newest: Path) -> None:
        files = []
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                files.append((status.st_atime, status.st_size, path))
        held, old = sum(size for _, size, _ in files), time.time() - self._keep_seconds
        for used_at, size, path in sorted(files):
            if held <= settings.ADAPTER_CACHE_BYTES or used_at > old:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                self._checked.pop(path.stem, None)
                held -= size
