import numpy as np
import pytest
import torch

from generation.engine import framing


@pytest.mark.parametrize(
    ("wanted", "box"),
    [
        ((256, 256), (0, 0, 256, 256)),
        ((512, 512), (0, 0, 256, 256)),
        ((256, 384), (42, 0, 213, 256)),  # upright: the sides go, alike
        ((384, 256), (0, 51, 256, 222)),  # wide: more of the sky goes than of the ground
    ],
)
def test_the_largest_part_of_the_right_shape_is_kept(wanted, box):
    assert framing.box((256, 256), wanted) == box


@pytest.mark.parametrize("wanted", [(256, 384), (384, 256), (512, 384), (512, 512)])
def test_pictures_come_out_in_the_size_that_was_asked_for(wanted):
    pictures = framing.fit(torch.rand(2, 3, 256, 256), wanted)
    assert tuple(pictures.shape) == (2, 3, wanted[1], wanted[0])


def test_the_drawn_size_is_left_byte_for_byte():
    pictures = torch.rand(1, 3, 256, 256)
    assert framing.fit(pictures, (256, 256)) is pictures


def test_a_flat_picture_stays_flat_when_enlarged():
    assert torch.allclose(framing.fit(torch.full((1, 3, 256, 256), 0.4), (512, 384)), torch.tensor(0.4), atol=1e-5)


def test_a_rough_picture_shows_the_same_part():
    rough = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    assert framing.cut(rough, (384, 384)) is not None and framing.cut(rough, (384, 384)).shape == (32, 32, 3)
    assert framing.cut(rough, (256, 384)).shape == (32, 21, 3)
