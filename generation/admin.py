"""Pictures for staff: look at jobs and images, try again, cancel, delete; edit what people can choose from."""

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html

from credits.admin.columns import actor_of, credits_column
from credits.models import Entry
from generation import admin_catalogue, admin_looks, admin_models, admin_providers, services, storage, transitions
from generation.engine import catalog
from generation.models import Image, Job
from tenkaigen.admin import LookAdmin, OneByOneAdmin, link_to, link_to_list

THUMBNAIL_PX = 64
admin_catalogue.register()
admin_looks.register()
admin_providers.register()
admin_models.register()


class ModelFilter(admin.SimpleListFilter):
    """By model. The names come from the catalogue: asking the jobs for theirs would read all of them."""

    title = parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(spec.name, spec.title) for spec in catalog.CATALOG.values()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset.filter(model=self.value()) if self.value() else queryset


@admin.register(Job)
class JobAdmin(OneByOneAdmin):
    list_display = ("short_id", "status", "model", "count", "team_link", "user", "charged", "created_at")
    list_filter = ("status", "is_quarantined", "kind", ModelFilter, "created_at")
    list_select_related = ("team", "user")
    search_fields = ("user__email", "team__email", "team__name")
    search_ids = ("id", "team_id")
    search_help_text = "A job's or team's id, or part of an e-mail address or team name"
    ordering = ("-created_at",)
    actions = ("retry", "cancel", "refund", "looked_at")
    fieldsets = (
        (None, {"fields": (
            "status", "is_quarantined", "kind", "failure", "failure_code", "team_link", "user_link", "links",
        )}),
        ("Request", {"fields": (
            "prompt", "expanded_prompt", "negative_prompt", "expander", "style", "franchise", "product", "model",
            "model_revision", "reference_model", "model_version",
            "width", "height", "quality", "count", "seed", "num_inference_steps", "guidance_scale",
            "request_key",
        )}),
        ("Price", {"fields": ("plan", "quoted", "charged", "quote")}),
        ("Course", {"fields": (
            "attempts", "fence", "batch_key", "batch_max", "worker", "lease_until", "run_after", "created_at",
            "claimed_at", "device_done_at", "finished_at", "device_ms", "processing_ms", "stored_bytes", "metadata",
        )}),
    )  # fmt: skip

    charged = credits_column("charged_centi", "charged")
    quoted = credits_column("quoted_centi", "quoted")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for _, options in self.fieldsets for name in options["fields"]]

    @admin.display(description="job", ordering="id")
    def short_id(self, job: Job) -> str:
        return str(job.id)[:8]

    @admin.display(description="team", ordering="team__name")
    def team_link(self, job: Job) -> str:
        return link_to(job.team)

    @admin.display(description="person")
    def user_link(self, job: Job) -> str:
        return link_to(job.user)

    @admin.display
    def links(self, job: Job) -> str:
        entries = link_to_list(Entry, "Wallet entries", q=job.pk)
        return format_html("{} {}", entries, link_to_list(Image, "Images", job__id__exact=job.pk))

    @admin.action(description="Try again, as new jobs", permissions=["act"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        self.one_by_one(request, queryset.select_related("team", "user"), services.retry_job, "Tried again")

    @admin.action(description="Cancel and give the credits back", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        queryset = queryset.select_related("team")
        self.one_by_one(request, queryset, partial(services.cancel_job, actor=actor_of(request)), "Canceled")

    def has_refund_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("credits.change_wallet"))

    @admin.action(description="Give back what was charged", permissions=["refund"])
    def refund(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        queryset = queryset.select_related("team")
        self.one_by_one(request, queryset, partial(services.refund_job, actor=actor_of(request)), "Refunded")

    @admin.action(description="Looked at: needs no more looks", permissions=["act"])
    def looked_at(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        self.one_by_one(request, queryset, transitions.note_looked_at, "Looked at")


@admin.register(Image)
class ImageAdmin(LookAdmin):
    list_display = ("thumbnail", "short_id", "job_link", "team_link", "width", "height", "size_bytes", "created_at")
    list_display_links = ("short_id",)
    list_select_related = ("team", "job")
    list_per_page = 50
    search_fields = ("team__email", "team__name", "key")
    search_ids = ("id", "job_id", "team_id")
    search_help_text = "An image's, job's or team's id, or part of a team's name or e-mail address"
    ordering = ("-created_at",)
    fields = (
        "preview", "job_link", "team_link", "index", "seed", "width", "height", "size_bytes", "sha256", "key",
        "preview_key", "thumbnail_key", "created_at", "expires_at",
    )  # fmt: skip

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("generation.delete_image"))

    def delete_model(self, request: HttpRequest, obj: Image) -> None:
        services.delete_image(obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Image]) -> None:
        for image in queryset.select_related("team"):
            services.delete_image(image, actor=actor_of(request))

    def get_urls(self) -> list[Any]:
        file = self.admin_site.admin_view(self.file)
        return [path("<uuid:image_id>/file/<str:variant>", file, name="generation_image_file"), *super().get_urls()]

    def file(self, request: HttpRequest, image_id: UUID, variant: str) -> HttpResponse:
        """Lead staff to a picture of any team; the pages' own address shows it to its team only."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        image = Image.objects.filter(id=image_id).first()
        if image is None or variant not in storage.VARIANTS:
            raise Http404
        return HttpResponseRedirect(storage.short_lived_url(image, variant))

    @admin.display(description="image", ordering="id")
    def short_id(self, image: Image) -> str:
        return str(image.id)[:8]

    @admin.display(description="picture")
    def thumbnail(self, image: Image) -> str:
        return _picture(image, "thumbnail", THUMBNAIL_PX)

    @admin.display(description="picture")
    def preview(self, image: Image) -> str:
        return _picture(image, "preview", 4 * THUMBNAIL_PX)

    @admin.display(description="job")
    def job_link(self, image: Image) -> str:
        return link_to(image.job, str(image.job_id)[:8])

    @admin.display(description="team")
    def team_link(self, image: Image) -> str:
        return link_to(image.team)


def _picture(image: Image, variant: str, side_px_max: int) -> str:
    scale = side_px_max / max(image.width, image.height)
    return format_html(
        '<img src="{}" alt="{}" width="{}" height="{}" loading="lazy">',
        reverse("admin:generation_image_file", args=[image.pk, variant]),
        image.job.prompt[:100],
        round(image.width * scale),
        round(image.height * scale),
    )
