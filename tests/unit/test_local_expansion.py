import tomllib

from generation.params import EXPANDED_PROMPT_CHARS_MAX, NEGATIVE_PROMPT_CHARS_MAX
from generation.prompts import StyleRecipe, local
from generation.seed import FOLDER

WATERCOLOUR = StyleRecipe("watercolour", "{prompt}, watercolor painting", "photo", ("watercolour", "aquarelle"))


def test_a_style_dresses_the_prompt():
    made = local.expand("a fox", style=WATERCOLOUR, product_recipe="centered design")
    assert made.prompt == "a fox, watercolor painting, centered design"
    assert made.negative_prompt == "photo, blurry, low quality"
    assert (made.style, made.expander) == ("watercolour", "local")


def test_a_style_named_in_the_prompt_is_found():
    assert local.expand("an Aquarelle of a fox", style=None, styles=[WATERCOLOUR]).style == "watercolour"
    assert local.expand("a fox", style=None, styles=[WATERCOLOUR]).style == ""


def test_a_franchise_is_named():
    assert local.expand("Pikachu in a forest", style=None).franchise == "Pokémon"
    assert local.expand("one pieceful evening", style=None).franchise == ""


def test_the_longest_prompt_stays_within_the_limit():
    made = local.expand("x" * 3000, style=WATERCOLOUR)
    assert len(made.prompt) <= EXPANDED_PROMPT_CHARS_MAX and len(made.negative_prompt) <= NEGATIVE_PROMPT_CHARS_MAX


def test_there_are_a_dozen_presets_and_each_is_whole():
    styles = tomllib.loads((FOLDER / "styles.toml").read_text())["style"]
    assert len(styles) >= 12
    for style in styles:
        assert "{prompt}" in style["recipe"] and style["negative_prompt"] and style["description"]
