"""A hundred hostile prompts: they ask for pictures like any others, and what a captured Gemini says is data, too."""

import re
import unicodedata
from pathlib import Path

import pytest

from generation.params import NEGATIVE_PROMPT_CHARS_MAX, PROMPT_CHARS_MAX, make
from generation.prompts.gemini import FRANCHISE_CHARS_MAX, Answer, draft_of

FILE = Path(__file__).parent / "injections.txt"
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def read_injections() -> list[str]:
    """The corpus, one hostile text an item, with what cannot be seen in its place."""
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("# ")]
    return [re.sub(r"(?<!\\)\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), line) for line in lines]


INJECTIONS = read_injections()


def is_clean(text: str) -> bool:
    has_markup = re.search(r"[<>{}`]|://|www\.|javascript:", unicodedata.normalize("NFKC", text).lower())
    return not has_markup and not any(unicodedata.category(c) in INVISIBLE for c in text)


def test_there_are_a_hundred_of_many_kinds():
    assert len(INJECTIONS) == len(set(INJECTIONS)) == 100
    assert sum(not text.isascii() for text in INJECTIONS) >= 12


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_hostile_prompt_sets_nothing_but_the_prompt(text):
    plain, hostile = make({"prompt": "a fox"}).as_dict(), make({"prompt": text}).as_dict()
    assert {name for name in plain if plain[name] != hostile[name]} <= {"prompt"}
    assert not any(unicodedata.category(c) in INVISIBLE for c in hostile["prompt"])


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_hostile_answer_is_cleaned_or_refused(text):
    answer = Answer(prompt=f"a fox, {text}", negative_prompt=text * 9, style=text, franchise=text)
    try:
        draft = draft_of(answer)
    except ValueError:
        return
    texts = (draft.prompt, draft.negative_prompt, draft.style, draft.franchise)
    assert all(is_clean(text) for text in texts)
    assert len(draft.prompt) <= PROMPT_CHARS_MAX and len(draft.negative_prompt) <= NEGATIVE_PROMPT_CHARS_MAX
    assert len(draft.franchise) <= FRANCHISE_CHARS_MAX


def test_every_link_and_every_tag_of_the_corpus_is_refused():
    dirty = [
        text for text in INJECTIONS if not is_clean(re.sub(r"[^\x20-\uffff]", "", unicodedata.normalize("NFKC", text)))
    ]
    marked = [
        text
        for text in dirty
        if re.search(r"[<>{}`]|://|www\.|javascript:", unicodedata.normalize("NFKC", text).lower())
    ]
    assert len(marked) >= 20
    for text in marked:
        with pytest.raises(ValueError, match="links or markup"):
            draft_of(Answer(prompt=text))
