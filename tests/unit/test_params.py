import pytest

from generation.errors import InvalidParams
from generation.params import COUNT_MAX, PROMPT_CHARS_MAX, SEED_MAX, clean_text, make


def test_a_bare_prompt_gets_the_models_defaults():
    params = make({"prompt": "a fox"})
    assert (params.model, params.width, params.height) == ("starter", 256, 256)
    assert (params.count, params.quality, params.seed, params.expand) == (1, "standard", None, True)


def test_hd_takes_more_steps():
    assert make({"prompt": "x", "quality": "hd"}).num_inference_steps > make({"prompt": "x"}).num_inference_steps


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", " \u200b\n "),
        ("prompt", "x" * (PROMPT_CHARS_MAX + 1)),
        ("negative_prompt", "x" * 501),
        ("size", "1x1"),
        ("size", "99999x99999"),
        ("count", 0),
        ("count", COUNT_MAX + 1),
        ("seed", -1),
        ("seed", SEED_MAX + 1),
        ("num_inference_steps", 0),
        ("guidance_scale", 1000.0),
        ("guidance_scale", float("nan")),
        ("quality", "ultra"),
        ("model", "../../etc/passwd"),
    ],
)
def test_what_is_not_offered_is_refused_by_field(field, value):
    with pytest.raises(InvalidParams) as refusal:
        make({"prompt": "a fox", field: value})
    assert field in refusal.value.fields


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\x00b\x1bc", "abc"),
        ("two\r\n lines\t here", "two lines here"),
        ("\u202eevil\u202c", "evil"),
        ("غروب الشمس", "غروب الشمس"),
        ("cat \U0001f468\u200d\U0001f469 emoji", "cat \U0001f468\u200d\U0001f469 emoji"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("e\u0301", "\u00e9"),
    ],
)
def test_texts_keep_every_script_and_lose_what_hides(text, clean):
    assert clean_text(text) == clean


def test_the_fingerprint_tells_requests_apart():
    assert make({"prompt": "a"}).fingerprint() == make({"prompt": " a "}).fingerprint()
    assert make({"prompt": "a"}).fingerprint() != make({"prompt": "a", "seed": 1}).fingerprint()
