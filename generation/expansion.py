"""Whether Gemini may write a prompt, and what becomes of what it wrote. Our own expansion is always there beneath.

Gemini's words dress the picture and nothing else: the style somebody chose or named stays, the policy has the last
word, and everything that fails is our own expansion with a note. No database lock is held while Gemini is asked.
"""

import hashlib
import json
from dataclasses import asdict, replace
from datetime import date
from uuid import UUID

import structlog
from django.conf import settings
from django.core.cache import cache
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from generation import looks, policy, queries
from generation.models import ExpansionUse
from generation.params import EXPANDED_PROMPT_CHARS_MAX, NEGATIVE_PROMPT_CHARS_MAX, Params
from generation.prompts import Draft, Expansion, ExpansionFailed, StyleRecipe, local

logger = structlog.get_logger(__name__)

DAY_SECONDS = 86_400
TOKENS_RESERVED = 3_000  # for one call, until it says what it took
# After so many failures in a row within the window, Gemini is left alone for the rest of it: an outage must not cost
# every job the whole deadline.
REST_AFTER_FAILURES = 3
REST_WINDOW_SECONDS = 30
FAILURES_KEY = "gemini:failures"
FAILURES_OF_THE_OTHER_SIDE = ("slow", "busy", "away")
NOTES = {
    "crowded": "Many ask Gemini at the moment, so this is our own expansion.",
    "slow": "Gemini took too long, so this is our own expansion.",
    "busy": "Gemini is busy, so this is our own expansion.",
    "away": "Gemini could not be reached, so this is our own expansion.",
    "refused": "Gemini did not answer this prompt, so this is our own expansion.",
    "unusable": "Gemini's answer could not be used, so this is our own expansion.",
    "forbidden": "Gemini's answer is not allowed here, so this is our own expansion.",
    "budget": "Your team has used up today's share of Gemini, so this is our own expansion.",
}


def is_on() -> bool:
    """Whether this server has Gemini."""
    return bool(settings.GEMINI_API_KEY)


def is_resting() -> bool:
    """Whether Gemini has failed so often just now that nobody should wait for it."""
    return int(cache.get(FAILURES_KEY) or 0) >= REST_AFTER_FAILURES


def known(params: Params, made: Expansion) -> Expansion | None:
    """What Gemini made of the same words within the last day, or None. Costs nothing and asks nobody."""
    draft = _remembered(_key(params, made))
    if draft is None:
        return None
    try:
        return _dress(draft, params, made)
    except ExpansionFailed:
        return None


def ask(team_id: UUID, params: Params, made: Expansion) -> Expansion:
    """Gemini's expansion, or `made`, our own, with a note. Takes up to `GEMINI_SECONDS_MAX`."""
    try:
        return _dress(_remembered(_key(params, made)) or _write(team_id, params, made), params, made)
    except ExpansionFailed as failure:
        logger.info("expanded_locally", reason=failure.reason)
        return replace(made, note=NOTES[failure.reason])


def _write(team_id: UUID, params: Params, made: Expansion) -> Draft:
    from generation.prompts import gemini

    if is_resting():
        raise ExpansionFailed("away")
    day = timezone.now().date()  # of the share, although the answer may come after midnight
    if not _take_tokens(team_id, day):
        raise ExpansionFailed("budget")
    product_recipe = _product_recipe(params)
    styles = [queries.recipe_of(row) for row in queries.styles()]
    try:
        draft, tokens = gemini.write(params.prompt, style=made.style, product_recipe=product_recipe, styles=styles)
    except ExpansionFailed as failure:
        _correct_tokens(team_id, day, failure.tokens)
        if failure.reason in FAILURES_OF_THE_OTHER_SIDE:
            _count_failure()
        raise
    _correct_tokens(team_id, day, tokens)
    cache.delete(FAILURES_KEY)
    cache.set(_key(params, made), asdict(draft), DAY_SECONDS)
    return draft


def _dress(draft: Draft, params: Params, made: Expansion) -> Expansion:
    """Put the look, the style and the product around a draft.

    Raises:
        ExpansionFailed: the policy forbids the result.
    """
    style = _style(made.style or draft.style)
    look = looks.reference_of(params.reference_model)
    recipes = [recipe for recipe in (looks.recipe_of(look) if look else None, style) if recipe]
    prompt = ", ".join(filter(None, [local.dress(draft.prompt, recipes), _product_recipe(params)]))
    kept_out = [*(recipe.negative_prompt for recipe in recipes), draft.negative_prompt, local.NEGATIVE_ALWAYS]
    expansion = Expansion(
        prompt=prompt[:EXPANDED_PROMPT_CHARS_MAX],
        negative_prompt=params.negative_prompt or _listed(kept_out, NEGATIVE_PROMPT_CHARS_MAX),
        style=style.slug if style else "",
        franchise=made.franchise or draft.franchise,
        expander="gemini",
    )
    if policy.refusal(expansion.prompt, expansion.negative_prompt, expansion.franchise):
        raise ExpansionFailed("forbidden")
    return expansion


def _style(slug: str) -> StyleRecipe | None:
    row = queries.styles().filter(slug=slug).first() if slug else None
    return queries.recipe_of(row) if row else None


def _product_recipe(params: Params) -> str:
    return queries.products().filter(slug=params.product).values_list("recipe", flat=True).first() or ""


def _listed(lists: list[str], chars_max: int) -> str:
    """Comma separated lists as one, each word once, as many as fit."""
    chosen: dict[str, None] = {}
    for word in (word.strip() for words in lists for word in words.split(",")):
        if word and len(", ".join([*chosen, word])) <= chars_max:
            chosen.setdefault(word)
    return ", ".join(chosen)


# --- The day's memory -----------------------------------------------------------------------------------------------
def _key(params: Params, made: Expansion) -> str:
    asked = json.dumps([settings.GEMINI_MODEL, params.prompt, made.style, params.product])
    return f"gemini:draft:{hashlib.sha256(asked.encode()).hexdigest()}"


def _remembered(key: str) -> Draft | None:
    kept = cache.get(key)
    return Draft(**kept) if kept else None


def _count_failure() -> None:
    cache.add(FAILURES_KEY, 0, REST_WINDOW_SECONDS)
    try:
        cache.incr(FAILURES_KEY)
    except ValueError:  # the cache has just been emptied
        return


# --- The team's share of the day, counted in the database -----------------------------------------------------------
def _take_tokens(team_id: UUID, day: date) -> bool:
    """Set `TOKENS_RESERVED` aside; False when the day's budget does not hold them."""
    ExpansionUse.objects.bulk_create([ExpansionUse(team_id=team_id, day=day)], ignore_conflicts=True)
    fits = ExpansionUse.objects.filter(
        team_id=team_id, day=day, tokens__lte=settings.GEMINI_TOKENS_PER_TEAM_DAY - TOKENS_RESERVED
    )
    return fits.update(tokens=F("tokens") + TOKENS_RESERVED, calls=F("calls") + 1) == 1


def _correct_tokens(team_id: UUID, day: date, tokens: int | None) -> None:
    """Count what a call really took in place of what was set aside for it; unknown: it took all of that."""
    if tokens is None:
        return
    used = ExpansionUse.objects.filter(team_id=team_id, day=day)
    used.update(tokens=Greatest(F("tokens") + tokens - TOKENS_RESERVED, 0))
