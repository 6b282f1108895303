"""Reference models: the looks to draw with and to train from."""

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.access import needs
from accounts.roles import Ability
from generation import looks, queries
from generation.engine import catalog
from generation.models import ReferenceModel
from generation.params import clean_text
from tenkaigen.htmx import HtmxRequest

SEARCH_CHARS_MAX = 100
RELATED = 4


@needs(Ability.READ)
@require_GET
def reference_models(request: HtmxRequest) -> HttpResponse:
    """All of them, or those of a category and with some words. An unknown category counts as none."""
    category = request.GET.get("category", "")
    category = category if category in ReferenceModel.Category.values else ""
    words = clean_text(request.GET.get("q", ""))[:SEARCH_CHARS_MAX]
    context = {
        "looks": list(queries.reference_models(category=category, words=words)),
        "category": category,
        "categories": ReferenceModel.Category.choices,
        "words": words,
    }
    return render(request, "generation/reference_models.html", context)


@needs(Ability.READ)
@require_GET
def reference_model(request: HtmxRequest, slug: str) -> HttpResponse:
    look = looks.reference_of(slug)
    if look is None:
        raise Http404("There is no such look.")
    base = catalog.CATALOG.get(looks.base_of(look))
    before, _, after = look.recipe.partition("{prompt}")
    context = {
        "look": look,
        "base": base.title if base else looks.base_of(look),
        "recipe": {"before": before, "after": after},
        "related": queries.reference_models(category=look.category).exclude(pk=look.pk)[:RELATED],
    }
    return render(request, "generation/reference_model.html", context)
