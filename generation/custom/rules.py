"""When a model may be trained: what still misses, what its plan allows, what it costs. Nothing here writes."""

from decimal import Decimal

from accounts.models import Team
from credits import prices, pricing
from credits.plans import Limits, limits_of
from credits.pricing import Quote
from generation import queries as model_queries
from generation.custom import queries
from generation.errors import InvalidParams, ModelNotReady, ModelTrained, TooManyModels
from generation.models import CustomModel, ModelVersion
from generation.training_limits import PICTURES_MAX, PICTURES_MIN, trigger_word_problem

CONSENT = "I have the right to use these pictures and the consent of the people in them."


def quote_of(model: CustomModel) -> Quote:
    """What its first training costs now, with the pictures it has.

    Raises:
        PriceMissing: the price list has a hole where this falls.
    """
    pictures = max(1, model.pictures.count())
    return pricing.quote(prices.current(), pricing.Creation(pictures, _complexity(model)))


def quote_refinement(model: CustomModel, parent: ModelVersion | None = None) -> Quote:
    """What the next version costs now; the same whichever version it starts from.

    Raises:
        PriceMissing: as `quote_of`.
    """
    iteration = queries.refinements_of(model) + 1
    return pricing.quote(prices.current(), pricing.Refinement(iteration, _complexity(model)))


def problems_of(model: CustomModel, limits: Limits | None = None) -> dict[str, str]:
    """What still misses before a first training, by field; empty when it may be submitted."""
    problems = {}
    if model.reference is None or not model.reference.is_active:
        problems["reference"] = "Choose a reference model."
    elif not model_queries.is_offered(queries.base_model_of(model)):
        problems["reference"] = "This reference model cannot be trained from on this server. Choose another."
    if not model.name:
        problems["name"] = "Give the model a name."
    if problem := trigger_word_problem(model.trigger_word):
        problems["trigger_word"] = problem
    if problem := pictures_problem(model, limits or limits_of(model.team_id)):
        problems["pictures"] = problem
    if not model.has_consent:
        problems["has_consent"] = f"Confirm: {CONSENT}"
    return problems


def pictures_problem(model: CustomModel, limits: Limits) -> str:
    """Why a model cannot learn from the pictures it has; empty when it can."""
    count, most = model.pictures.count(), pictures_max(limits)
    if count < PICTURES_MIN:
        return f"Add at least {PICTURES_MIN} pictures; there are {count}."
    if count > most:
        return f"The {limits.name} plan allows {most} pictures a model; there are {count}. Take some away."
    return ""


def pictures_max(limits: Limits) -> int:
    return min(PICTURES_MAX, limits.training_images_max)


def refuse_incomplete(model: CustomModel, limits: Limits) -> None:
    """Raises: InvalidParams, with a sentence for everything that still misses."""
    if problems := problems_of(model, limits):
        raise InvalidParams(problems)


def refuse_open_training(model: CustomModel) -> None:
    """Raises: ModelNotReady. Call it with the model locked."""
    if running := queries.open_training(model):
        raise ModelNotReady(f"Version {running.number} of this model is being trained. Wait for it, or cancel it.")


def refuse_trained(model: CustomModel) -> None:
    """Raises: ModelTrained. Call it with the model locked."""
    if version := queries.ready_versions(model).first():
        raise ModelTrained(f"This model is trained: it has version {version.number}. Refine it.")


def refuse_models(team: Team, limits: Limits) -> None:
    """Call it when the team's newest model is submitted, under the wallet's lock: then no two are counted at once.

    Raises:
        TooManyModels: the plan allows fewer models.
    """
    if problem := models_problem(team, limits, more=0):
        raise TooManyModels(problem)


def models_problem(team: Team, limits: Limits, *, more: int = 1) -> str:
    """Why a team cannot train so many more models; empty when it can."""
    count = CustomModel.objects.filter(team=team, deleted_at=None, submitted_at__isnull=False).count()
    if count + more <= limits.models_max:
        return ""
    allowed = f"{limits.models_max:,} model{'' if limits.models_max == 1 else 's'}"
    return f"The {limits.name} plan allows {allowed} of your own. Delete one, or change the plan."


def refuse_storage(team: Team, limits: Limits, more_bytes: int = 1) -> None:
    """Raises: TooManyModels, when so many more bytes do not fit into what the team's plan allows."""
    if queries.storage_of(team) + more_bytes > limits.model_storage_bytes:
        allowed = f"{limits.model_storage_bytes / 10**9:,.4g} GB"
        raise TooManyModels(f"The {limits.name} plan keeps {allowed} of training pictures and versions. Delete some.")


def _complexity(model: CustomModel) -> Decimal | None:
    return model.reference.complexity if model.reference else None
