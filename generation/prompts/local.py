"""Expansion from the style presets alone: no network, no model, always there. Pure."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from generation.params import EXPANDED_PROMPT_CHARS_MAX, NEGATIVE_PROMPT_CHARS_MAX
from generation.prompts import Expansion, StyleRecipe

FRANCHISES_FILE = Path(__file__).parent.parent / "catalogue" / "franchises.toml"
NEGATIVE_ALWAYS = "blurry, low quality"
POLISH = "highly detailed, beautiful composition"


def expand(
    prompt: str,
    *,
    style: StyleRecipe | None,
    styles: Sequence[StyleRecipe] = (),
    product_recipe: str = "",
    look: StyleRecipe | None = None,
) -> Expansion:
    """Dress a prompt in a look's recipe, a style's, and a product's needs.

    Args:
        prompt: the person's words, clean.
        style: the style they chose; None: the first of `styles` whose keyword the prompt names.
        styles: all there are, in order.
        product_recipe: what the product's print area asks for.
        look: of the reference model they chose. It is nearest to their words; the style goes around both.
    """
    chosen = style or _named_in(prompt, styles)
    recipes = [recipe for recipe in (look, chosen) if recipe]
    rich = ", ".join(filter(None, [dress(prompt, recipes) if recipes else f"{prompt}, {POLISH}", product_recipe]))
    negative = ", ".join(filter(None, [*(recipe.negative_prompt for recipe in recipes), NEGATIVE_ALWAYS]))
    return Expansion(
        prompt=rich[:EXPANDED_PROMPT_CHARS_MAX],
        negative_prompt=negative[:NEGATIVE_PROMPT_CHARS_MAX],
        style=chosen.slug if chosen else "",
        franchise=_franchise_in(prompt),
        expander="local",
    )


def dress(words: str, recipes: Sequence[StyleRecipe]) -> str:
    """Put recipes around words, the first one innermost."""
    for recipe in recipes:
        words = recipe.recipe.replace("{prompt}", words)
    return words


def with_trigger_word(made: Expansion, word: str) -> Expansion:
    """The same with a model's trigger word in front, unless it says it already. An empty word changes nothing."""
    if not word or _has_word(made.prompt, word):
        return made
    return replace(made, prompt=f"{word}, {made.prompt}"[:EXPANDED_PROMPT_CHARS_MAX])


def _named_in(prompt: str, styles: Sequence[StyleRecipe]) -> StyleRecipe | None:
    return next((style for style in styles if any(_has_word(prompt, word) for word in style.keywords)), None)


def _franchise_in(prompt: str) -> str:
    return next((name for name, words in _franchises() if any(_has_word(prompt, word) for word in words)), "")


@cache
def _franchises() -> list[tuple[str, list[str]]]:
    rows = tomllib.loads(FRANCHISES_FILE.read_text())["franchise"]
    return [(row["name"], row["words"]) for row in rows]


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) is not None
