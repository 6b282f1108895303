"""Toys for the engine tests: made once per process, copied where a test breaks them."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # a mistyped path must never turn into a look-up
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `build` does, but these tests import torch first


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a toy of every family under `models`. Read only: see `own_toys`."""
    from tests.engine import tiny, tiny_flow

    folder = tmp_path_factory.mktemp("toys")
    tiny.make_sd(folder / "models" / "tiny")
    tiny.make_sdxl(folder / "models" / "tiny-xl")
    tiny.make_adapter(folder / "models" / "tiny-xl", tiny.sdxl_spec().adapter.filename)
    tiny_flow.make_flux(folder / "models" / tiny_flow.flux_spec().name)
    tiny_flow.make_qwen(folder / "models" / tiny_flow.qwen_spec().name)
    # What the libraries made on import stays for good, and every unloading and training looks for garbage.
    gc.collect()
    gc.freeze()
    return folder


@pytest.fixture
def own_toys(toys: Path, tmp_path: Path) -> Path:
    """A copy that the test may damage."""
    shutil.copytree(toys, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(scope="session")
def engine(toys: Path):
    """One engine that offers every toy; shared, because nothing a test does to it may matter to the next."""
    from tests.engine import tiny, tiny_flow

    return tiny.engine(toys, tiny.spec(), tiny.sdxl_spec(), tiny_flow.flux_spec(), tiny_flow.qwen_spec())
