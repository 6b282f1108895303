"""The studio's one control for what draws: looks, the team's own models, and base models where there are several."""

from itertools import groupby

from accounts.models import Team
from generation import queries
from generation.custom.queries import usable
from generation.forms import GenerateForm, pick
from generation.models import CustomModel, ReferenceModel

Choices = list[tuple[str, str]]
NO_LOOK = ("", "No look: just your words")


def offer(form: GenerateForm, team: Team) -> GenerateForm:
    """Give a form's control the choices that the team has now; what is gone shows as nothing chosen."""
    groups: list[tuple[str, str] | tuple[str, Choices]] = [NO_LOOK]
    own = [choice for model in usable(team) for choice in _versions(model)]
    bases = [(pick({"model": model.slug}), model.name) for model in queries.models()]
    groups += [("Your models", own)] if own else []
    groups += [("Base models", [choice for choice in bases if choice[0]])] if len(bases) > 1 else []
    for category, rows in groupby(queries.reference_models(), key=lambda row: row.category):
        label = ReferenceModel.Category(category).label
        groups.append((f"Looks: {label.lower()}", [(pick({"reference_model": row.slug}), row.name) for row in rows]))
    form.fields["drawn_with"].widget.choices = groups
    if not form.is_bound:
        picked, listed = form.picked, {value for value, _ in own}
        is_single = picked.startswith("own:") and picked not in listed  # its one version is listed without a number
        form.initial["drawn_with"] = picked.rpartition(":")[0] if is_single and picked.count(":") > 1 else picked
    return form


def _versions(model: CustomModel) -> Choices:
    ready = [version.number for version in model.ready]  # type: ignore[attr-defined]  # of `usable`
    named = [(pick({"custom_model": model.pk}), model.name)]
    if len(ready) < 2:
        return named
    return named + [
        (pick({"custom_model": model.pk, "version": number}), f"{model.name}, version {number}") for number in ready
    ]
