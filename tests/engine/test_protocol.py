"""The part of the engine that the web may import."""

import os
import subprocess
import sys

import pytest

from generation.engine import Batch, EngineError, build, catalog

HEAVY = "torch numpy diffusers transformers PIL django celery"


def test_importing_the_protocol_and_the_catalogue_imports_nothing_heavy():
    script = (
        "import sys\nfrom generation.engine import catalog, lockfile, safety\n"
        f"print(*sorted(set('{HEAVY}'.split()) & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"


def test_loading_a_model_imports_no_django(toys):
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.engine import tiny\n"
        f"tiny.engine(Path({str(toys)!r}), tiny.spec()).load('tiny')\n"
        "print('django' in sys.modules, 'celery' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False False\n"


def test_building_an_engine_keeps_threads_from_spinning_and_respects_the_operator():
    script = "import os, sys, generation.engine as e; e.build('cpu'); print(os.environ['OMP_WAIT_POLICY'])"
    for said, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        environment |= {"OMP_WAIT_POLICY": said} if said else {}
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
        assert run.stdout.strip() == expected


@pytest.mark.parametrize("device", ["cuda:0", "cuda", "tpu", "cpu:1", "cuda:x"])
def test_a_device_that_is_not_there_is_refused_when_the_engine_is_built(device, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(EngineError, match="device"):
        build(device)


@pytest.mark.parametrize("spec", catalog.CATALOG.values(), ids=list(catalog.CATALOG))
def test_every_entry_of_the_catalogue_is_coherent(spec):
    assert catalog.CATALOG[spec.name] is spec
    assert spec.default_size in spec.sizes and len(set(spec.sizes)) == len(spec.sizes)
    assert 1 <= spec.steps_min <= spec.steps_default <= spec.steps_max
    assert 1.0 <= spec.guidance_min <= spec.guidance_default <= spec.guidance_max
    assert set(spec.batch_caps) <= set(spec.sizes)
    assert all(side % 16 == 0 for size in spec.sizes for side in size)
    assert bool(spec.repository) != bool(spec.folder)
    assert spec.supports_negative_prompt or spec.guidance_max == 1.0


def test_an_unknown_model_is_named_with_the_ones_there_are():
    with pytest.raises(catalog.UnknownModel, match=r"'nano'.*starter"):
        catalog.get("nano")
    assert isinstance(catalog.UnknownModel("nano"), KeyError)


def test_a_size_without_a_cap_is_drawn_alone():
    assert catalog.get("qwen-image-lightning").batch_cap(1328, 1328) == 1
    assert catalog.get("starter").batch_cap(256, 256) > 1


def test_a_batch_can_be_compared_and_hashed():
    assert len({Batch("tiny", 64, 64, 3, 1.0, ()), Batch("tiny", 64, 64, 3, 1.0, ())}) == 1
