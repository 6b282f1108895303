"""Reference models for staff: every field is checked, for a broken recipe or default would spoil every order."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from generation import looks
from generation.admin_catalogue import CatalogueAdmin
from generation.engine import catalog
from generation.models import CustomModel, ReferenceModel
from generation.templatetags.generation import reference_preview
from tenkaigen.admin import link_to_list

DEFAULTS: dict[str, tuple[type, ...]] = {
    "size": (str,),
    "num_inference_steps": (int,),
    "guidance_scale": (int, float),
}
STEPS_MAX = max(spec.steps_max for spec in catalog.CATALOG.values())
GUIDANCE_MAX = max(spec.guidance_max for spec in catalog.CATALOG.values())


class ReferenceModelForm(forms.ModelForm):
    """Keeps a recipe from losing the person's words, and defaults from being something else."""

    base_model = forms.ChoiceField(
        required=False,
        choices=[("", "The one that trains by default"), *((name, name) for name in catalog.CATALOG)],
    )

    def clean_recipe(self) -> str:
        recipe = str(self.cleaned_data["recipe"])
        if "{prompt}" not in recipe:
            raise forms.ValidationError("Write {prompt} where the person's words belong.")
        return recipe

    def clean_defaults(self) -> dict[str, Any]:
        if problem := problem_of(self.cleaned_data["defaults"] or {}):
            raise forms.ValidationError(problem)
        return self.cleaned_data["defaults"] or {}


def problem_of(defaults: object) -> str:
    """What is wrong with the defaults of a look; empty: nothing."""
    if not isinstance(defaults, dict):
        return 'Write an object, such as {"size": "384x512"}.'
    for name, value in defaults.items():
        if name not in DEFAULTS:
            return f"There is no setting {name[:40]!r}. There are: {', '.join(DEFAULTS)}."
        if isinstance(value, bool) or not isinstance(value, DEFAULTS[name]):
            return f"{name} is not what it should be."
    if "size" in defaults and not looks.SIZE.fullmatch(defaults["size"]):
        return "Write the size as 384x512."
    if not 1 <= defaults.get("num_inference_steps", 1) <= STEPS_MAX:
        return f"Steps are from 1 to {STEPS_MAX}."
    if not 1 <= defaults.get("guidance_scale", 1) <= GUIDANCE_MAX:
        return f"Guidance is from 1 to {GUIDANCE_MAX:g}."
    return ""


class ReferenceModelAdmin(CatalogueAdmin):
    """The looks, with what people see of them and what was drawn with them."""

    form = ReferenceModelForm
    list_display = ("name", "slug", "category", "complexity", "position", "is_active", "picture")
    list_filter = ("category", "is_active")
    search_fields = ("name", "slug", "description")
    fields = (
        "slug", "name", "category", "description", "complexity", "base_model", "recipe", "negative_prompt", "defaults",
        "example_prompt", "preview", "picture", "links", "position", "is_active",
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), "preview", "picture", "links")

    @admin.display(description="sample")
    def picture(self, look: ReferenceModel) -> str:
        address = reference_preview(look)
        return format_html('<img src="{}" alt="" width="64" height="64" loading="lazy">', address) if address else "-"

    @admin.display
    def links(self, look: ReferenceModel) -> str:
        if not look.pk:
            return "-"
        page = reverse("generation:reference_model", args=[look.slug])
        trained = link_to_list(CustomModel, "Models trained from it", reference__id__exact=look.pk)
        return format_html('<a href="{}">As people see it</a> {}', page, trained)


def register() -> None:
    admin.site.register(ReferenceModel, ReferenceModelAdmin)
