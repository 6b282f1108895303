"""The look at a finished picture."""

import numpy as np
import pytest
from PIL import Image

from generation.engine import safety


def picture(seed=0, height=96, width=64):
    """Smooth blobs: hashes of noise would say nothing about pictures."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 255, (6, 5, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def test_a_picture_is_fine():
    assert safety.check(picture()) == safety.FINE


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8, 3), np.uint8),
        np.full((8, 8, 3), 255, np.uint8),
        np.tile(np.array([250, 120, 3], np.uint8), (8, 8, 1)),
        np.full((8, 8, 3), np.nan),
        np.where(np.arange(192).reshape(8, 8, 3) == 5, np.inf, 7.0),
        np.zeros((8, 8), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
    ids=["black", "white", "one colour", "nan", "infinity", "no channels", "empty"],
)
def test_what_is_no_picture_is_broken(pixels):
    assert safety.check(pixels).code == "picture_broken"


def test_a_dark_night_is_a_picture():
    night = np.zeros((64, 64, 3), np.uint8)
    night[10:16, 40:46] = 200  # the moon
    assert safety.check(night).ok


def test_a_blocked_picture_is_recognised_after_rescaling_and_recolouring():
    original = picture(1, 128, 128)
    blocked = {safety.difference_hash(original)}
    smaller = np.asarray(Image.fromarray(original).resize((80, 96)))
    brighter = np.clip(original.astype(np.int16) + 12, 0, 255).astype(np.uint8)
    for variant in (original, smaller, brighter):
        assert safety.check(variant, blocked=blocked) == safety.BLOCKED
    assert all(safety.check(picture(seed), blocked=blocked).ok for seed in range(2, 40))


def test_the_distance_is_at_most_six_bits():
    mine = safety.difference_hash(picture())
    assert not safety.check(picture(), blocked=[mine ^ 0b111111]).ok
    assert safety.check(picture(), blocked=[mine ^ 0b1111111]).ok


def test_the_hash_compares_each_cell_with_its_right_neighbour():
    rising = np.tile(np.linspace(0, 255, 90, dtype=np.uint8)[None, :, None], (80, 1, 3))
    assert safety.difference_hash(rising) == 2**64 - 1
    assert safety.difference_hash(rising[:, ::-1]) == 0


def test_the_block_list_is_read_with_comments_and_read_again_when_it_changes(tmp_path):
    file = tmp_path / "blocked.txt"
    file.write_text("# why\n\n00000000000000ff  # a note\n")
    assert safety.load_blocked(file) == {255}
    file.write_text("00000000000000ff\n0000000000000100\n")
    assert safety.load_blocked(file) == {255, 256}


@pytest.mark.parametrize("line", ["0123", "0123456789abcdeg", "0x123456789abcde", "0123456789abcdef0"])
def test_a_damaged_block_list_is_an_error_not_a_shorter_list(tmp_path, line):
    file = tmp_path / "blocked.txt"
    file.write_text(f"00000000000000ff\n{line}\n")
    with pytest.raises(ValueError, match="line 2"):
        safety.load_blocked(file)


def test_the_shipped_block_list_is_empty():
    assert safety.load_blocked() == frozenset()


def test_a_classifier_has_the_last_word_and_sees_no_broken_picture():
    asked = []

    def classify(pixels):
        asked.append(pixels.shape)
        return safety.Verdict(False, "It shows a secret.", "secret")

    assert safety.check(picture(), classify=classify).code == "secret"
    assert safety.check(np.zeros((8, 8, 3), np.uint8), classify=classify).code == "picture_broken"
    assert asked == [(96, 64, 3)]


def test_a_classifier_is_found_by_name_or_its_absence_is_an_error():
    assert safety.classifier("") is None
    assert safety.classifier("generation.engine.safety:check") is safety.check
    with pytest.raises((ImportError, AttributeError)):
        safety.classifier("generation.engine.safety:nothing")
