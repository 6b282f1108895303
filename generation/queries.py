"""What is read about pictures. Everything goes through the team; nothing here writes."""

from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.db.models import Prefetch, Q, QuerySet

from accounts.models import Team
from credits import prices, pricing
from credits.pricing import Quote
from generation import events, waits
from generation.engine import catalog
from generation.errors import InvalidParams
from generation.models import CatalogueRow, Image, ImageModel, Job, ModelVersion, Product, ReferenceModel, Style
from generation.params import Params, nearest_size, size_name
from generation.prompts import StyleRecipe
from tenkaigen.paging import Page, page

OPEN = (Job.Status.QUEUED, Job.Status.PROCESSING)
RECENT_JOBS = 12
NAMES_SECONDS = 60  # how long a changed name of a style takes to show on old jobs
NEWEST_FIRST = Prefetch("images", Image.objects.order_by("index"))
WORDS_MAX = 8  # of a search
Row = TypeVar("Row", bound=CatalogueRow)


def jobs_of(team: Team) -> QuerySet[Job]:
    return Job.objects.filter(team=team).select_related("model_version__model").prefetch_related(NEWEST_FIRST)


def trained_model_of(job: Job) -> UUID | None:
    """The model that a training was of, unless it was deleted."""
    versions = ModelVersion.objects.filter(job=job, model__deleted_at=None)
    return versions.values_list("model_id", flat=True).first()


def job_page(team: Team, cursor: str | None, *, status: str = "", size: int = settings.GALLERY_PAGE) -> Page[Job]:
    jobs = jobs_of(team)
    return page(jobs.filter(status=status) if status else jobs, cursor, size)


def gallery_page(team: Team, cursor: str | None, size: int = settings.GALLERY_PAGE) -> Page[Image]:
    return page(Image.objects.filter(team=team).select_related("job__model_version__model"), cursor, size)


def image_of(team: Team, image_id: UUID) -> Image | None:
    return Image.objects.filter(team=team, id=image_id).select_related("job").first()


def styles() -> QuerySet[Style]:
    return Style.objects.filter(is_active=True)


def products() -> QuerySet[Product]:
    return Product.objects.filter(is_active=True)


def models() -> QuerySet[ImageModel]:
    return ImageModel.objects.filter(is_active=True)


def reference_models(*, category: str = "", words: str = "") -> QuerySet[ReferenceModel]:
    """The looks there are, by category and then in staff's order."""
    rows = ReferenceModel.objects.filter(is_active=True).order_by("category", "position", "slug")
    for word in words.split()[:WORDS_MAX]:
        rows = rows.filter(Q(name__icontains=word) | Q(description__icontains=word) | Q(slug__icontains=word))
    return rows.filter(category=category) if category else rows


def offered(rows: type[Row], field: str, slug: str) -> Row:
    """The row of that slug. Raises: InvalidParams, where it is not offered."""
    row = rows._default_manager.filter(slug=slug, is_active=True).first()
    if row is None:
        raise InvalidParams({field: f"There is no {field} called {slug!r}."})
    return row


def is_offered(base_model: str) -> bool:
    """Whether a model is in the catalogue and switched on."""
    return base_model in catalog.CATALOG and ImageModel.objects.filter(slug=base_model, is_active=True).exists()


def catalogue_names() -> dict[str, str]:
    """What styles, products and looks are called, by `style:slug` and so on; the retired ones, too."""
    return cache.get_or_set("catalogue-names", _read_names, NAMES_SECONDS) or {}


def _read_names() -> dict[str, str]:
    rows = (("style", Style), ("product", Product), ("look", ReferenceModel))
    return {f"{kind}:{slug}": name for kind, model in rows for slug, name in model.objects.values_list("slug", "name")}


def size_for_product(spec: catalog.ModelSpec, slug: str) -> str:
    """The size a model should draw for a product; its usual size for none, and for one that is not offered."""
    ratio = products().filter(slug=slug).values_list("ratio_width", "ratio_height").first() if slug else None
    return size_name(*(nearest_size(spec, *ratio) if ratio else spec.default_size))


def recent_jobs(team: Team, size: int = RECENT_JOBS) -> list[Job]:
    """The newest pictures that a team asked for, and every open one. Trainings have the page of their model."""
    jobs = jobs_of(team).filter(kind=Job.Kind.IMAGE).order_by("-created_at", "-id")
    newest = list(jobs[:size])
    is_more_possible = len(newest) == size
    older = jobs.filter(status__in=OPEN, created_at__lt=newest[-1].created_at) if is_more_possible else []
    return [*newest, *older]


def recipe_of(style: Style) -> StyleRecipe:
    keywords = tuple(word.strip() for word in style.keywords.split(",") if word.strip())
    return StyleRecipe(style.slug, style.recipe, style.negative_prompt, keywords)


def quote(params: Params, complexity: Decimal | None = None) -> Quote:
    """What a request costs now. The model's complexity is read unless the caller has it.

    Raises:
        PriceMissing: the price list has a hole where this falls.
    """
    if complexity is None:
        complexity = ImageModel.objects.filter(slug=params.model).values_list("complexity", flat=True).first()
    return pricing.quote(
        prices.current(), pricing.Pictures(params.width, params.height, params.quality, params.count, complexity)
    )


def progress_of(job: Job, *, may_count: bool = True) -> events.Progress:
    """Where an open job is, from Redis. A queued one that Redis does not know is counted here, if that may cost SQL."""
    known = events.progress_of(job.id)
    if known and known.status == job.status:
        return known
    if job.status != Job.Status.QUEUED or not may_count:
        return events.Progress(job.status)
    progress = progress_of_wait(job, waits.wait_of(job))
    events.publish_waits({job.id: progress})  # whoever looks next need not count
    return progress


def progress_of_wait(job: Job, wait: waits.Wait) -> events.Progress:
    return events.Progress(
        status=job.status,
        position=wait.position,
        seconds_left=wait.seconds_left,
        reason=wait.reason,
        fence=job.fence,
    )
