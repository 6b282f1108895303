"""The starter's weights as they are shipped, through the engine as it is shipped. Missing weights are a failure."""

import numpy as np
import pytest
from PIL import Image

from generation.engine import Batch, Canceled, ImageRequest, build, catalog, lockfile, safety
from generation.engine.loading import Shelf

SPEC = catalog.get("starter")
SUNSET = ImageRequest("a beautiful sunset over mountains", "", 1)
CAT = ImageRequest("an orange cat in the snow at night, watercolor style", "blurry", 2)
WEIGHTS_BYTES_MAX = 40 * 2**20


@pytest.fixture(scope="module")
def engine():
    return build("cpu")


def draw(engine, *requests, size=SPEC.default_size, steps=SPEC.steps_default, on_step=lambda step: None):
    return engine.generate(Batch("starter", *size, steps, SPEC.guidance_default, requests), on_step)


def test_the_lock_describes_the_weights_that_are_here():
    shelf = Shelf.at()
    assert lockfile.read(shelf.lock_file)["starter"] == lockfile.describe(shelf.folder("starter"))


def test_the_weights_are_small_enough_to_ship():
    assert sum(file.size for file in lockfile.describe(Shelf.at().folder("starter")).files.values()) < WEIGHTS_BYTES_MAX


def test_the_catalogue_tells_the_truth_about_the_tokens(engine):
    engine.load("starter")
    assert engine._resident["starter"][0].tokenizer.model_max_length == SPEC.tokens_max


@pytest.mark.parametrize("size", SPEC.sizes, ids=str)
def test_every_size_gives_a_picture_even_in_one_step(engine, size):
    (pixels,) = draw(engine, SUNSET, size=size, steps=1)
    assert pixels.shape == (size[1], size[0], 3) and safety.check(pixels).ok


def test_the_most_steps_give_a_picture(engine):
    assert safety.check(draw(engine, SUNSET, steps=SPEC.steps_max)[0]).ok


def test_a_picture_does_not_depend_on_its_batch(engine):
    together = draw(engine, SUNSET, CAT, steps=3)
    for request, picture in zip((SUNSET, CAT), together, strict=True):
        (alone,) = draw(engine, request, steps=3)
        assert np.abs(alone.astype(int) - picture.astype(int)).max() <= 1


def test_the_same_seed_with_another_prompt_is_another_picture(engine):
    one, other = draw(engine, SUNSET, ImageRequest(CAT.prompt, "", SUNSET.seed), steps=4)
    assert np.abs(one.astype(int) - other.astype(int)).mean() > 5


def test_a_preview_in_the_middle_resembles_the_picture(engine):
    previews = {}
    (pixels,) = draw(engine, SUNSET, on_step=lambda step: previews.update({step.done: step.preview()[0]}))
    small = Image.fromarray(pixels).resize(previews[1].shape[1::-1], Image.Resampling.BOX)
    likeness = {
        done: np.corrcoef(rough.flatten(), np.asarray(small).flatten())[0, 1] for done, rough in previews.items()
    }
    assert likeness[SPEC.steps_default // 2] > 0.8 and likeness[SPEC.steps_default] > 0.9


def test_canceling_leaves_the_next_picture_as_it_was(engine):
    (before,) = draw(engine, CAT, steps=3)

    def cancel(step):
        if step.done == 2:
            raise Canceled

    with pytest.raises(Canceled):
        draw(engine, SUNSET, on_step=cancel)
    assert np.array_equal(draw(engine, CAT, steps=3)[0], before)
