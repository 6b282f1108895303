"""From a name in the catalogue to a pipeline on a device. The only module that reads weights.

Nothing is downloaded and nothing but safetensors is read: the folder must be, file by file, what `models.lock` says
(`research/reliability.md` 3.10: `trust_remote_code=False` alone has been bypassed twice).
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.engine import LoadedModel, ModelUnavailable, lockfile
from generation.engine.catalog import CATALOG, ModelSpec
from generation.engine.levers import Levers

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[2]
# "stable_diffusion" is where diffusers keeps the safety checker of that family.
LIBRARIES_ALLOWED = frozenset({None, "diffusers", "transformers", "stable_diffusion"})


@dataclass(frozen=True)
class Shelf:
    """Where models lie, and the lock that vouches for them."""

    models_dir: Path
    lock_file: Path
    catalog: Mapping[str, ModelSpec] = field(default_factory=lambda: CATALOG)

    @classmethod
    def at(cls, models_dir: Path | str | None = None, lock_file: Path | str | None = None) -> Shelf:
        # The variables the engine reads by itself, so that it runs without Django's settings.
        models_dir = models_dir or os.environ.get("TENKAIGEN_MODELS_DIR") or ROOT / "var" / "models"
        # A container's own files do not survive it: there the lock may lie in a folder that does.
        lock_file = lock_file or os.environ.get("TENKAIGEN_MODELS_LOCK") or ROOT / "models.lock"
        return cls(Path(models_dir), Path(lock_file))

    def spec(self, name: str) -> ModelSpec:
        if name not in self.catalog:
            raise ModelUnavailable(f"No model called {name!r}. There are: {', '.join(self.catalog)}.")
        return self.catalog[name]

    def folder(self, name: str) -> Path:
        return self.spec(name).folder or self.models_dir / name

    def check(self, name: str) -> tuple[ModelSpec, Path, str]:
        """Prove that the model may be loaded: (its entry, its folder, its revision).

        Raises:
            ModelUnavailable: with the sentence that says what to do.
        """
        spec, folder = self.spec(name), self.folder(name)
        remedy = f"manage.py fetch_model {name}" if spec.repository else "manage.py lock_starter"
        if not folder.is_dir():
            get_it = remedy if spec.repository else "manage.py train_starter"
            raise ModelUnavailable(f"The model {name!r} is not installed: run {get_it}.")
        locked = lockfile.read(self.lock_file).get(name)
        if locked is None:
            raise ModelUnavailable(f"The model {name!r} is not in {self.lock_file.name}: run {remedy}.")
        try:
            lockfile.verify(folder, locked)
        except ModelUnavailable as error:
            raise ModelUnavailable(f"{error} To change that: run {remedy}.") from error
        check_index(folder, spec)
        if spec.adapter is not None and spec.adapter.path not in locked.files:
            raise ModelUnavailable(f"{spec.adapter.filename} is not in {self.lock_file.name}: run {remedy} --update.")
        return spec, folder, locked.revision


def load(
    shelf: Shelf, name: str, device: str, levers: Levers, *, dtype: torch.dtype | None = None
) -> tuple[Any, LoadedModel]:
    """Read a model from disk onto `device`: (the diffusers pipeline, what the load took).

    The seconds include the imports of the first load in a process. `dtype` is that of the catalogue, if none is given.

    Raises:
        ModelUnavailable: see `Shelf.check`; or the sampler is not the one the catalogue demands.
    """
    started = time.monotonic()
    spec, folder, revision = shelf.check(name)
    pipe = _pipeline_class(spec).from_pretrained(
        folder,
        dtype=dtype or _dtype(spec, device),
        variant=spec.variant,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    if spec.adapter is not None and not spec.adapter.replaces:
        _fuse(pipe, folder / "adapter", spec.adapter.filename)
    if spec.scheduler is not None:
        pipe.scheduler = make_scheduler(spec)
    check_scheduler(pipe, spec)
    pipe.set_progress_bar_config(disable=True)
    pipe.to(device)
    levers.apply(pipe)
    return pipe, LoadedModel(name, revision, time.monotonic() - started, resident_bytes(pipe))


def make_scheduler(spec: ModelSpec) -> Any:
    """The sampler the catalogue demands; settings that are not written there have the defaults of its class."""
    import diffusers

    assert spec.scheduler is not None
    return getattr(diffusers, spec.scheduler.kind)(**spec.scheduler.config)


def check_scheduler(pipe: Any, spec: ModelSpec) -> None:
    """Refuse a pipeline whose sampler differs from the catalogue in any setting.

    Raises:
        ModelUnavailable: names the setting. The wrong sampler draws wrong pictures at full speed, silently.
    """
    if spec.scheduler is None:
        return
    if (kind := type(pipe.scheduler).__name__) != spec.scheduler.kind:
        raise ModelUnavailable(f"{spec.name} needs the sampler {spec.scheduler.kind}, not {kind}.")
    wanted, actual = dict(make_scheduler(spec).config), dict(pipe.scheduler.config)
    for key in sorted(wanted.keys() | actual.keys()):
        if wanted.get(key) != actual.get(key):
            raise ModelUnavailable(f"{spec.name} needs {key} {wanted.get(key)!r}, not {actual.get(key)!r}.")


def resident_bytes(pipe: Any) -> int:
    """Bytes of all weights and buffers of the pipeline, wherever they are."""
    modules = [part for part in pipe.components.values() if hasattr(part, "parameters")]
    return sum(
        tensor.numel() * tensor.element_size()
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
    )


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection while hundreds of modules are imported: nothing of theirs is garbage.

    From the start to the first picture 4.35 s of processor time instead of 5.04 s, medians on two busy cores
    (`benchmarks/engine_start.py`, which runs it both ways).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _pipeline_class(spec: ModelSpec) -> Any:
    # Read when the hub's library is imported. What loads models never goes to a network; `fetching` is another program.
    os.environ["HF_HUB_OFFLINE"] = "1"
    with collector_paused():
        import diffusers
        import transformers

        # Their warnings repeat the words of a prompt that is too long. Prompts are nobody's log lines.
        diffusers.logging.set_verbosity_error()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        diffusers.logging.disable_progress_bar()
        return getattr(diffusers, spec.pipeline)


def _dtype(spec: ModelSpec, device: str) -> torch.dtype:
    import torch

    # Half precision is emulated on most CPUs: slower, and no more exact.
    return torch.float32 if device == "cpu" else getattr(torch, spec.dtype)


def check_index(folder: Path, spec: ModelSpec) -> None:
    """Refuse a pipeline that is not what the catalogue says, or that asks for code from anywhere but the libraries.

    Raises:
        ModelUnavailable: names the part.
    """
    try:
        index = json.loads((folder / "model_index.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"The model {spec.name!r} has no readable model_index.json.") from error
    if index.get("_class_name") != spec.pipeline:
        raise ModelUnavailable(f"{spec.name} should be a {spec.pipeline}, its folder says {index.get('_class_name')}.")
    for part, value in index.items():
        # Anything else would be looked up as code inside the folder.
        if isinstance(value, list) and (len(value) != 2 or value[0] not in LIBRARIES_ALLOWED):
            raise ModelUnavailable(f"{spec.name} wants code from {value[0]!r} for its {part}; that is not allowed.")


def _fuse(pipe: Any, folder: Path, filename: str) -> None:
    """Add the LoRA to the weights and forget it: unfused it would cost two small products in every layer."""
    pipe.load_lora_weights(folder, weight_name=filename, local_files_only=True, use_safetensors=True)
    pipe.fuse_lora()
    pipe.unload_lora_weights()
