"""A model before it is trained: begun once, changed field by field, and kept between visits."""

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from accounts import activity
from accounts.models import Team, User
from generation import looks, policy
from generation.custom import pictures, rows, rules
from generation.errors import InvalidParams, TooManyModels
from generation.models import CustomModel, ReferenceModel
from generation.params import clean_text
from generation.training_limits import (
    DESCRIPTION_CHARS_MAX,
    NAME_CHARS_MAX,
    STEPS_MAX,
    STEPS_MIN,
    trigger_word_problem,
)

DRAFTS_MAX = 20  # of one team at a time
FIELDS = ("reference", "name", "description", "trigger_word", "train_steps", "train_text_encoder", "has_consent")
TEXTS = {"name": NAME_CHARS_MAX, "description": DESCRIPTION_CHARS_MAX}
NEEDED = {"name": "a name", "trigger_word": "a trigger word", "reference": "a reference model"}  # once submitted
ONE_TRIGGER_WORD = "custom_model_trigger_word_once_per_team"


@transaction.atomic
def begin(*, team: Team, user: User, reference: ReferenceModel | None = None) -> CustomModel:
    """A new, empty draft. Pages offer the last one again instead: `queries.draft_of`.

    Raises:
        TooManyModels: the team has as many drafts as anybody may have.
    """
    rows.lock_team(team.pk)  # two who begin at once would count the same drafts
    if CustomModel.objects.filter(team=team, deleted_at=None, submitted_at=None).count() >= DRAFTS_MAX:
        raise TooManyModels(f"Your team has {DRAFTS_MAX} drafts. Train or delete one of them first.")
    return CustomModel.objects.create(team=team, user=user, reference=reference)


@transaction.atomic
def change(model: CustomModel, *, actor: User | str, **fields: Any) -> CustomModel:
    """Set some of `FIELDS` of a model that has no trained version yet; the others stay. `reference` is a row or a slug.

    Raises:
        InvalidParams: with a sentence for every field that cannot be so; nothing is changed.
        PromptRefused: the policy forbids a text.
        ModelTrained, ModelNotReady: it is trained already, or is being trained.
        NoSuchModel, Busy: as `rows.lock`.
    """
    assert fields.keys() <= set(FIELDS), fields.keys()
    model = rows.lock(model)
    rules.refuse_trained(model)
    rules.refuse_open_training(model)
    values = _checked(fields, is_submitted=not model.is_draft)
    policy.refuse(*(str(values.get(name, "")) for name in (*TEXTS, "trigger_word")))
    suggested = pictures.suggestion(model)
    for name, value in values.items():
        setattr(model, name, value)
    if "reference" in values:
        model.base_model = "" if model.is_draft else looks.base_of(values["reference"])
    save(model, *values, "base_model")
    if (suggestion := pictures.suggestion(model)) != suggested:
        # Else the model would learn from words that nobody wrote and that do not call it any more.
        model.pictures.filter(caption=suggested).update(caption=suggestion)
    if not model.is_draft:
        activity.record(team=model.team, actor=actor, verb="model.changed", target=model.name, model=str(model.pk))
    return model


def save(model: CustomModel, *names: str) -> None:
    """Save some fields of a locked model. Raises: InvalidParams, where another model has its trigger word."""
    model.updated_at = Now()
    try:
        with transaction.atomic():
            model.save(update_fields=[*names, "updated_at"])
    except IntegrityError as error:
        if ONE_TRIGGER_WORD not in str(error):
            raise
        taken = f"Another model of your team is called by {model.trigger_word!r}. Choose another word."
        raise InvalidParams({"trigger_word": taken}) from error
    model.refresh_from_db(fields=["updated_at"])


def text_of(name: str, value: Any, problems: dict[str, str]) -> str:
    """A name or description, tidied; what is wrong with it is added to `problems`."""
    text = clean_text(str(value or ""))
    if len(text) > TEXTS[name]:
        problems[name] = f"Use at most {TEXTS[name]:,} characters; this has {len(text):,}."
    return text


def _checked(fields: dict[str, Any], *, is_submitted: bool) -> dict[str, Any]:
    problems: dict[str, str] = {}
    values = dict(fields)
    for name in TEXTS.keys() & fields.keys():
        values[name] = text_of(name, fields[name], problems)
    if "trigger_word" in fields:
        values["trigger_word"] = _trigger_word(fields["trigger_word"], problems)
    if "reference" in fields:
        values["reference"] = _reference(fields["reference"], problems)
    if "train_steps" in fields:
        values["train_steps"] = steps_of("train_steps", fields["train_steps"], problems)
    for name in {"train_text_encoder", "has_consent"} & fields.keys():
        values[name] = bool(fields[name])
    if is_submitted:
        emptied = {name for name in NEEDED if name in values and not values[name]}
        problems |= {name: f"The model needs {NEEDED[name]}." for name in emptied - problems.keys()}
    if problems:
        raise InvalidParams(problems)
    return values


def _trigger_word(given: Any, problems: dict[str, str]) -> str:
    word = str(given or "").strip()
    if word and (problem := trigger_word_problem(word)):
        problems["trigger_word"] = problem
    return word


def steps_of(name: str, steps: int | None, problems: dict[str, str]) -> int | None:
    """Training steps that somebody chose, or None; what is wrong with them is added to `problems`."""
    if steps is not None and not STEPS_MIN <= steps <= STEPS_MAX:
        problems[name] = f"Choose a number from {STEPS_MIN:,} to {STEPS_MAX:,}."
    return steps


def _reference(given: ReferenceModel | str | None, problems: dict[str, str]) -> ReferenceModel | None:
    if not given:
        return None
    slug = given.slug if isinstance(given, ReferenceModel) else given
    row = ReferenceModel.objects.filter(slug=slug, is_active=True).first()
    if row is None:
        problems["reference"] = f"There is no reference model called {slug[:40]!r}."
    return row
