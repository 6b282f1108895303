"""What the engine will be given for a request: the person's edit, an expansion, or their bare words.

Nothing is kept here. A model's trigger word stands in whatever the engine reads, or the model would not show.
"""

from dataclasses import replace

from accounts.models import Team
from generation import expansion, looks, policy, queries
from generation.looks import DrawnWith
from generation.models import Job, Product, Style
from generation.params import Params
from generation.prompts import Expansion, local


def suggest_prompt(*, team: Team, params: Params) -> Expansion:
    """What would be drawn for a request: Gemini's words where this server has it. Takes up to `GEMINI_SECONDS_MAX`.

    When Gemini fails it is our own expansion, and its `note` says why.

    Raises:
        As `looks.resolve` and `parse_prompt`.
    """
    drawn = looks.resolve(team, params)
    made = parse_prompt(params, drawn)
    return _ask(team, params, made, drawn) if _is_improvable(made) else made


def parse_prompt(params: Params, drawn: DrawnWith) -> Expansion:
    """What our own expansion makes of a request, without delay.

    Raises:
        InvalidParams: a style or product that is not offered.
        PromptRefused: the policy forbids a prompt.
    """
    made = expand_prompt(params, drawn)
    policy.refuse(params.prompt, made.prompt, made.negative_prompt)
    return made


def words_for_now(params: Params, drawn: DrawnWith) -> tuple[Expansion, bool]:
    """The best words that are there without asking anybody, and whether Gemini may find better ones.

    Raises:
        As `parse_prompt`.
    """
    made = parse_prompt(params, drawn)
    if not _is_improvable(made):
        return made, False
    remembered = expansion.known(params, made)
    if remembered:
        return local.with_trigger_word(remembered, drawn.trigger_word), False
    return made, not expansion.is_resting()


def better_words(job: Job, params: Params) -> Expansion:
    """Gemini's words for a job that waits for them, or ours with a note. Takes up to `GEMINI_SECONDS_MAX`."""
    drawn = looks.of_job(job)
    params = replace(params, expanded_prompt="")
    made = expand_prompt(replace(params, negative_prompt=""), drawn)
    if job.negative_prompt == made.negative_prompt:  # nobody asked for it: Gemini may write another
        params = replace(params, negative_prompt="")
    return _ask(job.team, params, replace(made, negative_prompt=job.negative_prompt), drawn)


def expand_prompt(params: Params, drawn: DrawnWith) -> Expansion:
    """The words for a request, before anybody asks whether they are allowed.

    Raises:
        InvalidParams: a style or product that is not offered.
    """
    style = queries.offered(Style, "style", params.style) if params.style else None
    product = queries.offered(Product, "product", params.product) if params.product else None
    made = local.expand(
        params.prompt,
        style=queries.recipe_of(style) if style else None,
        styles=[] if style else [queries.recipe_of(row) for row in queries.styles()],
        product_recipe=product.recipe if product else "",
        look=drawn.recipe,
    )
    negative = params.negative_prompt or (made.negative_prompt if params.expand else "")
    if not params.expand:
        made = Expansion(params.prompt, negative, params.style, made.franchise, expander="")
    elif params.expanded_prompt:
        made = Expansion(params.expanded_prompt, negative, made.style, made.franchise, expander="person")
    else:
        made = replace(made, negative_prompt=negative)
    return local.with_trigger_word(made, drawn.trigger_word)


def _ask(team: Team, params: Params, made: Expansion, drawn: DrawnWith) -> Expansion:
    # Gemini has no reason to keep a word that means nothing to it.
    return local.with_trigger_word(expansion.ask(team.pk, params, made), drawn.trigger_word)


def _is_improvable(made: Expansion) -> bool:
    return expansion.is_on() and made.expander == "local"
