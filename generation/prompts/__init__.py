"""From a short prompt to a rich one. One function, whoever does the writing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expansion:
    """What was made of a prompt. The person's own words are kept beside it, never replaced."""

    prompt: str
    negative_prompt: str
    style: str  # slug, or empty
    franchise: str
    expander: str  # "local" or "gemini"


@dataclass(frozen=True, slots=True)
class StyleRecipe:
    """A style as an expander needs it."""

    slug: str
    recipe: str
    negative_prompt: str
    keywords: tuple[str, ...] = ()
