"""What may be asked of a training: every limit, and what suits a number of pictures. Pure."""

import re

NAME_CHARS_MAX = 60
DESCRIPTION_CHARS_MAX = 300
CAPTION_CHARS_MAX = 300
PICTURES_MIN = 3
PICTURES_MAX = 40  # a plan may allow fewer
STEPS_MIN = 50
STEPS_MAX = 4000
STEPS_PER_PICTURE = 40
UPLOAD_BYTES_MAX = 20_000_000  # of one picture
UPLOADS_MAX = 40  # files in one request
UPLOADS_A_DAY_MAX = 2000  # files that are fetched or read for a team, taken or not: fifty full models
ZIP_BYTES_MAX = 200_000_000  # packed
ZIP_ENTRIES_MAX = 200
ZIP_UNPACKED_BYTES_MAX = 500_000_000
URLS_MAX = 20  # in one request
SIDE_PX_MIN = 128
SIDE_PX_MAX = 8192
PIXELS_MAX = 40_000_000
SIDE_PX_KEPT = 1536  # a larger picture is made smaller: no model learns from more
TRIGGER_WORD_CHARS_MAX = 30
_TRIGGER_WORD = re.compile(r"[a-z][a-z0-9]{2,29}")
# Words that every prompt may hold: a trigger word must not change the pictures of people who did not mean it.
_COMMON_WORDS = frozenset({"and", "the", "with", "photo", "picture", "image", "person", "man", "woman", "dog", "cat"})


def trigger_word_problem(word: str) -> str:
    """Why a word cannot be a trigger word; empty when it can."""
    if not _TRIGGER_WORD.fullmatch(word):
        return "Use 3 to 30 small letters and digits, beginning with a letter, such as zuko7."
    if word in _COMMON_WORDS:
        return "This is an ordinary word. Invent one that nobody would write by chance, such as zuko7."
    return ""


def steps_for(pictures: int) -> int:
    """The training steps that suit a number of pictures."""
    return max(STEPS_MIN, min(STEPS_MAX, pictures * STEPS_PER_PICTURE))
