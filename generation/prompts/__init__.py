"""From a short prompt to a rich one. One function, whoever does the writing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expansion:
    """What was made of a prompt. The person's own words are kept beside it, never replaced."""

    prompt: str
    negative_prompt: str
    style: str  # slug, or empty
    franchise: str
    expander: str  # "local", "gemini", "person" or empty: nobody
    note: str = ""  # for the person: why it is not what they might expect


@dataclass(frozen=True, slots=True)
class Draft:
    """What a language model wrote: clean and within its limits, but nobody's decision yet."""

    prompt: str
    negative_prompt: str
    style: str
    franchise: str


class ExpansionFailed(Exception):
    """No usable draft. `reason` is a stable word; `tokens` were spent all the same, None: nobody knows."""

    def __init__(self, reason: str, tokens: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.tokens = tokens


@dataclass(frozen=True, slots=True)
class StyleRecipe:
    """A style as an expander needs it."""

    slug: str
    recipe: str
    negative_prompt: str
    keywords: tuple[str, ...] = ()
