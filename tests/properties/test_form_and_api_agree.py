"""The page's form and the API's serializer accept the same requests and make equal `Params` of them."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accounts.models import Team
from generation.engine import catalog
from generation.forms import GenerateForm
from generation.params import (
    COUNT_MAX,
    EXPANDED_PROMPT_CHARS_MAX,
    NEGATIVE_PROMPT_CHARS_MAX,
    PROMPT_CHARS_MAX,
    QUALITIES,
    SEED_MAX,
    size_name,
)
from generation.serializers import JobRequestSerializer
from tests.custom import make_trained
from tests.factories import make_user, team_of

STARTER = catalog.get("starter")


def near(low: float, high: float) -> st.SearchStrategy[int]:
    """Numbers in the range, at its edges, and far outside."""
    return st.integers(int(low) - 1, int(high) + 1) | st.sampled_from([int(low), int(high)]) | st.integers()


def texts(limit: int) -> st.SearchStrategy[str]:
    """Short texts of any characters, and some around the limit."""
    tricky = st.sampled_from(["", " ", "\u202e", "a\x00b", "\r\n", "<b>", "مرحبا", "👩‍👩‍👧", "é", "e\u0301"])
    around = st.integers(limit - 2, limit + 2).map(lambda length: "x" * length)
    spaced = st.integers(limit - 2, limit + 2).map(lambda length: " " + "x" * (length - 1) + "\n")
    return st.text(max_size=30) | tricky | around | spaced


MINE, FOREIGN = "6f1c1f0e-0000-4000-8000-00000000000a", "6f1c1f0e-0000-4000-8000-00000000000b"
SIZES = [size_name(*size) for size in STARTER.sizes]
REQUESTS = st.fixed_dictionaries(
    {"prompt": st.just("a red fox") | texts(PROMPT_CHARS_MAX), "expand": st.booleans()},
    optional={
        "negative_prompt": texts(NEGATIVE_PROMPT_CHARS_MAX),
        "expanded_prompt": texts(EXPANDED_PROMPT_CHARS_MAX),
        "model": st.sampled_from(["", "starter", "sd15", "none"]),
        "reference_model": st.sampled_from(["", "street-style", "lookbook", "none", "no such", "x" * 41]),
        "custom_model": st.sampled_from(["", MINE, MINE.upper(), FOREIGN, "nonsense", " "]),
        "version": near(1, 3),
        "style": st.sampled_from(["", "anime", "neon"]),
        "product": st.sampled_from(["", "mug", "poster", "t-shirt", "none"]),
        "size": st.sampled_from(["", *SIZES, "768x512", "257x257", "x"]),
        "quality": st.sampled_from(["", *QUALITIES, "best"]),
        "count": near(1, COUNT_MAX),
        "seed": near(0, SEED_MAX),
        "num_inference_steps": near(STARTER.steps_min, STARTER.steps_max),
        "guidance_scale": st.floats() | st.floats(STARTER.guidance_min, STARTER.guidance_max),
    },
)
DULL = {"prompt": "a red fox", "expand": True}


def as_form_data(request: dict[str, Any]) -> dict[str, str]:
    """What a browser would send: text, and nothing for a box that is not ticked."""
    data = {name: repr(value) if isinstance(value, float) else str(value) for name, value in request.items()}
    data.pop("expand")
    return {**data, "request_key": "k", **({"expand": "on"} if request["expand"] else {})}


@pytest.fixture
def team(catalogue) -> Team:
    """With a model of its own, drawn by another base model than the usual one, and another team's beside it."""
    mine, theirs = (team_of(make_user(credits=100)) for _ in range(2))
    make_trained(mine, id=MINE, base_model="sdxl-lightning")
    make_trained(theirs, id=FOREIGN, base_model="sdxl-lightning")
    return mine


@pytest.mark.django_db
@pytest.mark.usefixtures("bell")
@settings(max_examples=300)
@given(order=REQUESTS)
@example(order=DULL | {"product": "mug"})
@example(order=DULL | {"product": "mug", "size": "512x384", "model": "starter"})
@example(order=DULL | {"model": "sd15", "product": "poster"})
@example(order=DULL | {"count": 10**30})
@example(order=DULL | {"guidance_scale": float("nan")})
@example(order=DULL | {"guidance_scale": float("inf")})
@example(order=DULL | {"seed": SEED_MAX, "count": COUNT_MAX, "quality": "hd"})
@example(order=DULL | {"expand": False, "expanded_prompt": "mine", "negative_prompt": "blur"})
@example(order=DULL | {"reference_model": "street-style"})
@example(order=DULL | {"reference_model": "street-style", "product": "poster", "quality": "hd"})
@example(order=DULL | {"custom_model": MINE, "version": 2})
@example(order=DULL | {"custom_model": MINE, "size": "832x1216"})
@example(order=DULL | {"custom_model": FOREIGN, "size": "832x1216"})
@example(order=DULL | {"version": 1})
def test_form_and_api_accept_the_same_requests(team: Team, order: dict[str, Any]) -> None:
    form = GenerateForm(as_form_data(order), team=team)
    serializer = JobRequestSerializer(data=order, context={"team": team})
    assert form.is_valid() == serializer.is_valid(), (form.errors, serializer.errors)
    if form.is_valid():
        assert form.to_params() == serializer.to_params()
        assert form.to_params().fingerprint() == serializer.to_params().fingerprint()
    else:
        assert set(form.errors) & set(serializer.errors)
