"""What may not be asked for. Pure: rules from a readable file, a text in, a reason out."""

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from generation.errors import PromptRefused

RULES_FILE = Path(__file__).parent / "catalogue" / "policy.toml"
# What is commonly written in place of a letter to slip past a word list.
LOOKALIKES = str.maketrans("013457@$!", "oieastasi")


@dataclass(frozen=True, slots=True)
class Rule:
    """A refusal: every group must be named in the text, by any of its words."""

    name: str
    reason: str
    groups: tuple[re.Pattern[str], ...]


@cache
def rules() -> tuple[Rule, ...]:
    listed = tomllib.loads(RULES_FILE.read_text())["rule"]
    return tuple(Rule(row["name"], row["reason"], tuple(map(_any_of, row["all_of"]))) for row in listed)


def refusal(*texts: str) -> Rule | None:
    """The first rule that forbids one of the texts, or None."""
    for text in texts:
        plain = _plain(text)
        spellings = (plain, plain.translate(LOOKALIKES))
        for rule in rules():
            if any(all(group.search(spelling) for group in rule.groups) for spelling in spellings):
                return rule
    return None


def refuse(*texts: str) -> None:
    """Raises: PromptRefused, with the reason of the first rule that forbids one of the texts."""
    if rule := refusal(*texts):
        raise PromptRefused(rule.reason)


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c) and c != "\u200d")


def _any_of(words: list[str]) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(words) + r")\b")
