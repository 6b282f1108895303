"""What a request is drawn with: a base model, a look over it, or a model of the team's own. Nothing here writes.

Everything goes through the team: a model of another team is as absent as one that never was.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts.models import Team
from generation import params, queries
from generation.engine import catalog
from generation.errors import InvalidParams, ModelNotReady
from generation.models import CustomModel, Job, ModelVersion, ReferenceModel
from generation.params import MODEL_DEFAULT, QUALITIES, Params, nearest_size, size_name
from generation.prompts import StyleRecipe

ABSENT = "Your team has no such model."
SIZE = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})")


@dataclass(frozen=True, slots=True)
class DrawnWith:
    """What stands between a request and its base model; both empty: nothing does."""

    reference: ReferenceModel | None = None
    version: ModelVersion | None = None

    @property
    def trigger_word(self) -> str:
        return self.version.model.trigger_word if self.version else ""

    @property
    def recipe(self) -> StyleRecipe | None:
        return recipe_of(self.reference) if self.reference else None

    @property
    def complexity(self) -> Decimal | None:
        """What multiplies the price in place of the base model's; with two of them the greater. None: neither."""
        trained = self.version.model.reference if self.version else None
        return max((row.complexity for row in (self.reference, trained) if row), default=None)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a request names, as far as it is there. `resolve` refuses what is not."""

    model: str = ""
    reference: ReferenceModel | None = None
    own: CustomModel | None = None

    @property
    def spec(self) -> catalog.ModelSpec:
        """The base model that draws; what nobody knows counts as the usual one, and `params.make` refuses it."""
        return catalog.CATALOG.get(self.model) or catalog.get(MODEL_DEFAULT)

    def usual(self, *, product: str = "", quality: str = "") -> dict[str, Any]:
        """Size, steps and guidance where the person leaves them open, within what the base model can do."""
        spec, wanted = self.spec, self.reference.defaults if self.reference else {}
        usual: dict[str, Any] = {}
        shape = SIZE.fullmatch(str(wanted.get("size", "")))
        if shape and not product:
            usual["size"] = size_name(*nearest_size(spec, int(shape[1]), int(shape[2])))
        else:
            usual["size"] = queries.size_for_product(spec, product)
        if steps := wanted.get("num_inference_steps"):
            steps = params.steps_of(spec, quality or QUALITIES[0], int(steps))
            usual["num_inference_steps"] = max(spec.steps_min, steps)
        if guidance := wanted.get("guidance_scale"):
            usual["guidance_scale"] = min(max(spec.guidance_min, float(guidance)), spec.guidance_max)
        return usual


def choice_of(given: Mapping[str, Any], team: Team | None) -> Choice:
    """What the fields `model`, `reference_model` and `custom_model` of a request stand for, broken or not."""
    reference = reference_of(str(given.get("reference_model") or ""))
    own = own_model(team, str(given.get("custom_model") or "")) if team else None
    named = str(given.get("model") or "")
    return Choice(named or (own.base_model if own else "") or _base_of(reference), reference, own)


def make(given: Mapping[str, Any], choice: Choice) -> Params:
    """The request that a page or a program wrote; what it leaves open, its look, model and product say.

    Raises:
        InvalidParams: as `params.make`.
    """
    said = {name: value for name, value in given.items() if value not in ("", None)}
    usual = choice.usual(product=str(said.get("product", "")), quality=str(said.get("quality", "")))
    return params.make({**usual, "model": choice.model, **said})


def resolve(team: Team, asked: Params) -> DrawnWith:
    """The look and the version of a request.

    Raises:
        InvalidParams: a look, model or version that is not there, or another base model than the version's.
        ModelNotReady: the model has no version to draw with yet.
    """
    reference = reference_of(asked.reference_model)
    if asked.reference_model and reference is None:
        raise InvalidParams({"reference_model": f"There is no reference model called {asked.reference_model!r}."})
    return DrawnWith(reference, _version(team, asked) if asked.custom_model else None)


def of_job(job: Job) -> DrawnWith:
    """What a job is drawn with, whatever has become of it since."""
    reference = ReferenceModel.objects.filter(slug=job.reference_model).first() if job.reference_model else None
    return DrawnWith(reference, job.model_version)


def reference_of(slug: str) -> ReferenceModel | None:
    """The look of that slug, where it is offered."""
    if not params.SLUG.fullmatch(slug):
        return None
    return ReferenceModel.objects.filter(slug=slug, is_active=True).first()


def own_model(team: Team, model_id: str) -> CustomModel | None:
    try:
        found = CustomModel.objects.filter(team=team, id=UUID(model_id), deleted_at=None)
    except ValueError:
        return None
    return found.select_related("reference", "current").first()


def recipe_of(reference: ReferenceModel) -> StyleRecipe:
    return StyleRecipe(reference.slug, reference.recipe, reference.negative_prompt)


def base_of(reference: ReferenceModel | None) -> str:
    """The base model that a look is made for, and a model over it is trained on: of the catalogue, offered or not."""
    return (reference.base_model if reference else "") or settings.TRAINING_BASE_MODEL


def _base_of(reference: ReferenceModel | None) -> str:
    base = base_of(reference) if reference else MODEL_DEFAULT
    return base if base == MODEL_DEFAULT or queries.is_offered(base) else MODEL_DEFAULT


def _version(team: Team, asked: Params) -> ModelVersion:
    model = own_model(team, asked.custom_model)
    if model is None:
        raise InvalidParams({"custom_model": ABSENT})
    version = model.current
    if asked.version is not None:
        version = model.versions.filter(number=asked.version).first()
        if version is None or version.deleted_at:
            raise InvalidParams({"version": f"{model} has no version {asked.version}."})
    if version is None or not version.is_ready:
        raise ModelNotReady(f"{model} has no version to draw with yet. Wait for its training to end.")
    if asked.model != model.base_model:
        raise InvalidParams({"model": f"{model} is drawn with {model.base_model}. Leave the model out."})
    version.model = model  # with its reference, which is read already
    return version
