"""What may be loaded, and what is refused before a byte of it is believed."""

import contextlib
import gc
import json
import shutil

import pytest

from generation.engine import ModelUnavailable, lockfile
from generation.engine.catalog import CATALOG
from generation.engine.levers import Levers
from generation.engine.loading import Shelf, check_scheduler, collector_paused, load, make_scheduler
from tests.engine import tiny

PLAIN = Levers(channels_last=False)


def refused(shelf, name="tiny", match=""):
    with pytest.raises(ModelUnavailable, match=match):
        load(shelf, name, "cpu", PLAIN)


def test_a_locked_model_loads_and_says_what_it_is(own_toys):
    shelf = tiny.shelf(own_toys, tiny.spec())
    pipe, loaded = load(shelf, "tiny", "cpu", PLAIN)
    assert type(pipe).__name__ == "StableDiffusionPipeline"
    assert loaded.revision == lockfile.read(shelf.lock_file)["tiny"].revision
    weights = sum(file.stat().st_size for file in shelf.folder("tiny").rglob("*.safetensors"))
    assert loaded.bytes == pytest.approx(weights, rel=0.05)  # the files have headers, the modules have buffers
    assert 0 < loaded.seconds < 60


def test_loading_again_costs_nothing(engine):
    assert engine.load("tiny") is engine.load("tiny")
    assert engine.is_loaded("tiny")


def test_a_name_outside_the_catalogue_is_refused(own_toys):
    refused(tiny.shelf(own_toys, tiny.spec()), "../tiny", "No model called")


@pytest.mark.parametrize(("name", "remedy"), [("sd15", "fetch_model sd15"), ("starter", "train_starter")])
def test_a_model_that_is_not_installed_says_how_to_get_it(tmp_path, monkeypatch, name, remedy):
    monkeypatch.setattr(Shelf, "folder", lambda self, name: tmp_path / name)
    refused(Shelf(tmp_path, tmp_path / "models.lock"), name, f"not installed.*{remedy}")


def test_a_model_that_is_not_in_the_lock_is_refused(own_toys):
    shelf = tiny.shelf(own_toys, tiny.spec())
    shelf.lock_file.unlink()
    refused(shelf, match="not in models.lock: run manage.py fetch_model tiny")


def test_a_damaged_lock_is_refused(own_toys):
    shelf = tiny.shelf(own_toys, tiny.spec())
    shelf.lock_file.write_text('{"tiny": {"revision": "main", "files": {}}}')
    refused(shelf, match="damaged")


def test_a_changed_weight_is_refused_even_at_the_same_size(own_toys):
    shelf = tiny.shelf(own_toys, tiny.spec())
    file = shelf.folder("tiny") / "unet" / "diffusion_pytorch_model.safetensors"
    contents = bytearray(file.read_bytes())
    contents[-1] ^= 1
    file.write_bytes(contents)
    refused(shelf, match="unet/diffusion_pytorch_model.safetensors is not the file")


def test_a_missing_and_an_extra_file_are_refused(own_toys):
    shelf = tiny.shelf(own_toys, tiny.spec())
    config = shelf.folder("tiny") / "vae" / "config.json"
    config.rename(config.with_name("other.json"))
    refused(shelf, match="vae/config.json is missing")
    shutil.copy(config.with_name("other.json"), config)
    refused(shelf, match="vae/other.json is not in models.lock")


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "model.ckpt", "x.pkl", "pipeline.py", "a.Safetensors", "lib.so", "noext"]
)
def test_files_that_could_run_code_are_refused_even_when_locked(own_toys, name):
    shelf = tiny.shelf(own_toys, tiny.spec())
    (shelf.folder("tiny") / "unet" / name).write_bytes(b"x")
    refused(shelf, match="may not be loaded")
    with pytest.raises(ModelUnavailable):
        tiny.lock(shelf)


def test_a_pickle_that_is_called_safetensors_is_refused(own_toys):
    shelf = tiny.shelf(own_toys, tiny.spec())
    (shelf.folder("tiny") / "unet" / "extra.safetensors").write_bytes(b"\x80\x04\x95" + b"x" * 64)
    refused(shelf, match="is called safetensors but is not")


def test_a_link_out_of_the_folder_is_refused(own_toys):
    shelf = tiny.shelf(own_toys, tiny.spec())
    (shelf.folder("tiny") / "note.txt").symlink_to(own_toys / "models.lock")
    refused(shelf, match="is a link")


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("unet", ["my_code", "Unet"], "wants code from 'my_code'"),
        ("_class_name", "StableDiffusionXLPipeline", "should be a StableDiffusionPipeline"),
        ("_class_name", ["pipeline", "Mine"], "should be a StableDiffusionPipeline"),
    ],
)
def test_an_index_that_asks_for_other_code_is_refused_even_when_locked(own_toys, key, value, match):
    index = own_toys / "models" / "tiny" / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {key: value}))
    refused(tiny.shelf(own_toys, tiny.spec()), match=match)


def test_hashes_are_read_once_for_an_unchanged_file(own_toys):
    shelf = tiny.shelf(own_toys, tiny.spec())
    shelf.check("tiny")
    before = lockfile._sha256.cache_info().misses
    shelf.check("tiny")
    assert lockfile._sha256.cache_info().misses == before


def test_equal_folders_have_equal_revisions_and_a_changed_one_has_another(own_toys):
    folder, copy = own_toys / "models" / "tiny", own_toys / "copy"
    shutil.copytree(folder, copy)
    assert lockfile.describe(folder) == lockfile.describe(copy)
    (copy / "README.md").write_text("changed")
    assert lockfile.describe(folder).revision != lockfile.describe(copy).revision


def test_the_lock_survives_writing_and_reading(own_toys):
    shelf = tiny.shelf(own_toys, tiny.spec(), tiny.sdxl_spec())
    models = lockfile.read(shelf.lock_file)
    lockfile.write(shelf.lock_file, models)
    assert lockfile.read(shelf.lock_file) == models and set(models) == {"tiny", "tiny-xl"}


def test_the_sampler_of_the_catalogue_replaces_the_one_beside_the_weights(own_toys):
    spec = tiny.sdxl_spec()
    pipe, _ = load(tiny.shelf(own_toys, spec), spec.name, "cpu", PLAIN)
    assert dict(pipe.scheduler.config) == dict(make_scheduler(spec).config)
    assert pipe.scheduler.config.timestep_spacing == "trailing"


def test_a_sampler_that_differs_in_one_setting_is_refused(own_toys):
    spec = tiny.sdxl_spec()
    pipe, _ = load(tiny.shelf(own_toys, spec), spec.name, "cpu", PLAIN)
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, timestep_spacing="leading")
    with pytest.raises(ModelUnavailable, match="timestep_spacing 'trailing', not 'leading'"):
        check_scheduler(pipe, spec)


def test_the_samplers_of_the_catalogue_are_written_without_a_misspelt_setting():
    for spec in CATALOG.values():
        if spec.scheduler is not None:
            config = make_scheduler(spec).config
            assert {key: config[key] for key in spec.scheduler.config} == dict(spec.scheduler.config)


def test_the_adapter_is_fused_into_the_weights_and_forgotten(own_toys):
    import torch
    from diffusers import UNet2DConditionModel

    spec = tiny.sdxl_spec()
    pipe, _ = load(tiny.shelf(own_toys, spec), spec.name, "cpu", PLAIN)
    plain = UNet2DConditionModel.from_pretrained(own_toys / "models" / spec.name / "unet", local_files_only=True)
    fused, before = pipe.unet.state_dict(), plain.state_dict()
    assert fused.keys() == before.keys()
    changed = {key.rsplit(".", 2)[-2] for key in before if not torch.equal(before[key], fused[key])}
    assert changed == {"to_q", "to_v"}


def test_pausing_the_collector_leaves_it_as_it_was():
    assert gc.isenabled()
    with contextlib.suppress(RuntimeError), collector_paused():
        assert not gc.isenabled()
        raise RuntimeError
    assert gc.isenabled()
