"""How a waiting card speaks and how soon it asks again."""

import pytest

from generation.cards import Watch, poll_delay_ms
from generation.events import Progress


def watch(**progress: object) -> Watch:
    return Watch("id", "token", Progress(**progress))


@pytest.mark.parametrize(
    ("progress", "delay_ms"),
    [
        (Progress("queued"), 600),
        (Progress("queued", position=1), 600),
        (Progress("queued", position=3), 1000),
        (Progress("queued", position=500), 2000),
        (Progress("queued", position=1, seconds_left=40), 600),
        (Progress("queued", position=2, seconds_left=3), 600),
        (Progress("queued", position=5, seconds_left=20), 2000),
        (Progress("queued", position=500, seconds_left=600), 5000),
        (Progress("processing", "next"), 300),
        (Progress("processing"), 1000),
        (Progress("processing", "loading"), 1000),
        (Progress("processing", "drawing", 1, 20), 500),
        (Progress("processing", "drawing", 17, 20), 300),
        (Progress("processing", "storing", 20, 20), 300),
    ],
)
def test_the_nearer_the_picture_the_sooner_a_card_asks_again(progress, delay_ms):
    assert poll_delay_ms(progress) == delay_ms


def test_a_queued_card_says_why_it_waits_and_how_long():
    card = watch(status="queued", position=3, seconds_left=12, reason="2 ahead of you.")
    assert (card.title, card.detail, card.has_steps) == ("In the queue", "2 ahead of you. About 12 s.", False)


def test_a_long_wait_is_told_in_minutes():
    assert watch(status="queued", seconds_left=300, reason="").detail == "About 5 minutes."


def test_a_loading_model_is_named_as_such():
    assert watch(status="processing", phase="loading").title == "The model is loading"


def test_a_job_that_is_claimed_ahead_is_up_next():
    card = watch(status="processing", phase="next")
    assert (card.title, card.detail, card.has_steps) == ("Up next", "", False)


def test_steps_are_counted():
    card = watch(status="processing", phase="drawing", steps_done=3, steps_total=8)
    assert (card.title, card.detail, card.has_steps) == ("Drawing", "Step 3 of 8", True)


def test_without_redis_a_job_in_work_is_just_being_drawn():
    card = watch(status="processing")
    assert (card.title, card.detail, card.has_steps) == ("Drawing", "", False)
