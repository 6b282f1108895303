"""The shipped weights through the stock pipelines, and the training that makes them. Missing weights are a failure."""

import random

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline
from diffusers.models.attention_processor import Attention
from PIL import Image

from generation.engine.starter import WEIGHTS, prepare
from generation.engine.starter.autoencoder import patches_of, read_projection
from generation.engine.starter.evaluate import generate
from generation.engine.starter.palette import COLOURS
from generation.engine.starter.pipeline import load
from generation.engine.starter.scenes import Scene, draw_split, paint
from generation.engine.starter.store import Sizes, Store, encode
from generation.engine.starter.text import tokenize
from generation.engine.starter.tokenizer import TOKENS_MAX, build_tokenizer
from generation.engine.starter.train import Plan, Trainer
from generation.engine.starter.words import SUBJECT_WORDS

SUNSET = "a beautiful sunset over mountains"
CAT = "an orange cat in the snow at night, watercolor style"


@pytest.fixture(scope="module")
def pipe():
    return load(WEIGHTS)


def draw(pipe, prompt, seed=1, **options):
    (picture,) = generate(pipe, [prompt], seed, **options)
    return np.asarray(picture).astype(int)


def differ(one, other):
    return np.abs(one - other).mean() > 2


def test_a_missing_folder_is_never_looked_up_elsewhere(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path)


def test_the_same_seed_is_the_same_picture_and_another_seed_is_not(pipe):
    first = draw(pipe, CAT)
    assert first.shape == (256, 256, 3)
    assert np.array_equal(first, draw(pipe, CAT)) and not np.array_equal(first, draw(pipe, CAT, seed=2))


def test_prompts_guidance_and_negative_prompts_change_the_picture(pipe):
    plain = draw(pipe, CAT)
    assert differ(plain, draw(pipe, SUNSET))
    assert differ(plain, draw(pipe, CAT, guidance_scale=1.0))
    assert differ(plain, draw(pipe, CAT, negative_prompt=["night"]))


@pytest.mark.parametrize(
    "prompt",
    ["zqx vrrble 東京 🙂", "", "a golden retriever playing football, " + "very " * 200],
    ids=["odd", "empty", "long"],
)
def test_any_words_give_a_picture(pipe, prompt):
    picture = draw(pipe, prompt, num_inference_steps=4)
    assert picture.shape == (256, 256, 3) and picture.std() > 5


@pytest.mark.parametrize("size", [(384, 384), (384, 256), (512, 512)], ids=str)
def test_larger_pictures_are_accepted(pipe, size):
    picture = draw(pipe, SUNSET, num_inference_steps=2, width=size[0], height=size[1])
    assert picture.shape == (size[1], size[0], 3)


def test_a_picture_can_be_the_start_of_another():
    pipe = load(WEIGHTS, StableDiffusionImg2ImgPipeline)
    start = Image.fromarray(paint(Scene("flat", "day", "meadow", "cat", "red"), 1))
    options = {"image": start, "strength": 0.5, "num_inference_steps": 8, "generator": torch.manual_seed(1)}
    result = np.asarray(pipe("a red cat in a meadow", **options).images[0]).astype(int)
    assert result.shape == (256, 256, 3)
    # Half way in, much of the start is still there.
    assert np.corrcoef(result.flatten(), np.asarray(start).flatten())[0, 1] > 0.5


def test_a_part_of_a_picture_can_be_painted_anew():
    pipe = load(WEIGHTS, StableDiffusionInpaintPipeline)
    start = Image.fromarray(paint(Scene("flat", "day", "meadow", "cat", "red"), 1))
    mask = Image.new("L", start.size, 0)
    mask.paste(255, (0, 0, 256, 100))
    options = {"image": start, "mask_image": mask, "num_inference_steps": 4, "generator": torch.manual_seed(1)}
    result = np.asarray(pipe("a red cat at night", height=256, width=256, **options).images[0]).astype(int)
    kept = np.corrcoef(result[140:].flatten(), np.asarray(start)[140:].flatten())[0, 1]
    assert result.shape == (256, 256, 3) and kept > 0.8


def test_adapters_can_reach_the_attention_layers(pipe):
    layers = [module for module in pipe.unet.modules() if isinstance(module, Attention)]
    assert layers
    for layer in layers:
        assert all(isinstance(part, torch.nn.Linear) for part in (layer.to_q, layer.to_k, layer.to_v, layer.to_out[0]))


def test_the_encoder_is_the_linear_projection_it_claims_to_be(pipe):
    picture = paint(Scene("anime", "night", "sea", "boat", "red"), 1)
    values = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        stock = pipe.vae.encode(values * 2 - 1).latents[0].numpy()
    assert np.abs(stock - encode(picture, *read_projection(pipe.vae))).max() < 1e-2
    assert patches_of(values).shape == (1, 32, 32, 192)


def test_the_decoder_keeps_what_the_encoder_saw(pipe):
    picture = paint(Scene("flat", "day", "desert", "rocket", "blue"), 1)
    values = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        again = pipe.vae.decode(pipe.vae.encode(values).latents).sample.clamp(-1, 1)
    assert -10 * ((again - values) / 2).square().mean().log10() > 20  # dB


def test_every_subject_and_colour_is_a_token():
    words = [word for names in (*SUBJECT_WORDS.values(), COLOURS) for name in names for word in name.split()]
    tokenizer = build_tokenizer()
    assert all(len(tokenizer(word).input_ids) == 3 for word in words)  # start, word, end


def test_a_word_is_a_token_and_long_texts_are_cut(pipe):
    assert tokenize(pipe.tokenizer, ["word " * 500, "a cat"]).shape == (2, TOKENS_MAX)
    assert len(pipe.tokenizer("a purple dragon at sunset, watercolor style").input_ids) == 10


def _trainer(folder, monkeypatch):
    monkeypatch.setattr(prepare, "PCA_PICTURES", 12)
    plan = Plan(
        minutes=10,
        out=folder,
        batch=4,
        text_steps=2,
        widths=(16, 16, 16, 16),
        sizes=Sizes(latents=16, pictures=16),
        workers=1,
    )
    trainer = Trainer(plan)
    rng = random.Random(0)
    while trainer.store.painted < 16:
        scene = draw_split(rng, is_held_out=False)
        picture = paint(scene, trainer.store.painted)
        trainer.store.add(encode(picture, trainer.projection, trainer.bias), scene, picture)
    return trainer


def test_training_goes_on_from_where_it_was_saved(tmp_path, monkeypatch):
    first = _trainer(tmp_path, monkeypatch)
    first.train_decoder()
    first.train_unet()
    first.save()
    straight = first.train_unet()

    second = _trainer(tmp_path, monkeypatch)
    assert (second.step, second.decoder_step, second.seen) == (1, 1, 4)
    assert second.train_unet() == pytest.approx(straight, rel=1e-3)


def test_the_store_keeps_the_newest_pictures_and_their_meanings(tmp_path):
    store = Store(tmp_path, Sizes(latents=4, pictures=2))
    scenes = [draw_split(random.Random(k), is_held_out=False) for k in range(6)]
    for number, scene in enumerate(scenes):
        store.add(np.full((4, 32, 32), number, np.float16), scene, np.full((256, 256, 3), number, np.uint8))
    again = Store(tmp_path, Sizes(latents=4, pictures=2))
    assert again.painted == 6
    assert [again.scene(slot) for slot in range(4)] == [scenes[4], scenes[5], scenes[2], scenes[3]]
    assert {round(float(crop.mean()) * 255) for crop in again.draw_crops(np.random.default_rng(0), 8, 64)} == {4, 5}
