"""LoRA files beside the weights of one resident pipeline: loaded when a batch asks for them, the last few kept."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

from generation.engine import Lora, ModelUnavailable


class Loras:
    """Which LoRA files a pipeline holds, and which of them are switched on. One thread at a time."""

    def __init__(self, pipe: Any, kept_max: int) -> None:
        self._pipe, self._kept_max = pipe, max(1, kept_max)
        self._loaded: OrderedDict[str, None] = OrderedDict()
        self.active: tuple[Lora, ...] = ()

    def use(self, wanted: tuple[Lora, ...]) -> None:
        """Switch to exactly these, or to the bare model. A repeated call costs nothing.

        Raises:
            ModelUnavailable: a file is not there, or is no LoRA of this model. Then none is switched on.
        """
        if wanted == self.active:
            return
        self._switch_off()
        if not wanted:
            return
        names = [self._load(lora) for lora in wanted]
        self._pipe.enable_lora()
        self._pipe.set_adapters(names, adapter_weights=[lora.scale for lora in wanted])
        self.active = wanted
        while len(self._loaded) > max(self._kept_max, len(names)):
            oldest, _ = self._loaded.popitem(last=False)
            self._pipe.delete_adapters(oldest)

    def _switch_off(self) -> None:
        self.active = ()
        if self._loaded:
            self._pipe.disable_lora()

    def _load(self, lora: Lora) -> str:
        path = Path(lora.path)
        try:
            name = _name_of(path)
            if name not in self._loaded:
                self._pipe.load_lora_weights(
                    path.parent, weight_name=path.name, adapter_name=name, local_files_only=True, use_safetensors=True
                )
        except Exception as error:  # every library on the way has its own family of errors
            self._pipe.unload_lora_weights()
            self._loaded.clear()
            raise ModelUnavailable(f"The adapter {path.name} cannot be used with this model.") from error
        self._loaded[name] = None
        self._loaded.move_to_end(name)
        return name


def _name_of(path: Path) -> str:
    """A name for this file as it is now: another file at the same place is another adapter."""
    status = os.stat(path)
    text = f"{path.resolve()}:{status.st_mtime_ns}:{status.st_size}"
    return "lora_" + hashlib.sha256(text.encode()).hexdigest()[:16]
