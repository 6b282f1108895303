"""Models of one's own for staff: look at them, cancel their trainings, delete them. What it does, services do."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from credits.admin.columns import actor_of
from generation import services, storage
from generation.custom import queries
from generation.custom import services as custom
from generation.errors import JobIsOver
from generation.models import CustomModel, Job, ModelVersion, TrainingImage
from tenkaigen.admin import LookAdmin, OneByOneAdmin, link_to, link_to_list

THUMBNAIL_PX = 64


class CustomModelAdmin(OneByOneAdmin):
    list_display = ("__str__", "team_link", "trigger_word", "reference", "base_model", "current", "created_at", "gone")
    list_filter = ("base_model", "submitted_at", "deleted_at")
    list_select_related = ("team", "reference", "current")
    search_fields = ("name", "trigger_word", "team__name", "team__email")
    search_ids = ("id", "team_id")
    search_help_text = "A model's or team's id, or part of a name, trigger word, team name or e-mail address"
    ordering = ("-created_at",)
    actions = ("cancel_training", "delete_models")
    fields = (
        "id", "team_link", "user", "name", "description", "trigger_word", "reference", "base_model", "train_steps",
        "train_text_encoder", "has_consent", "current", "submitted_at", "deleted_at", "created_at", "updated_at",
        "links",
    )  # fmt: skip

    @admin.display(description="team", ordering="team__name")
    def team_link(self, model: CustomModel) -> str:
        return link_to(model.team)

    @admin.display(description="deleted", boolean=True)
    def gone(self, model: CustomModel) -> bool:
        return model.deleted_at is not None

    @admin.display
    def links(self, model: CustomModel) -> str:
        versions = link_to_list(ModelVersion, "Versions", model__id__exact=model.pk)
        return format_html("{} {}", versions, link_to_list(TrainingImage, "Pictures", model__id__exact=model.pk))

    @admin.action(description="Cancel the training and give the credits back", permissions=["act"])
    def cancel_training(self, request: HttpRequest, queryset: QuerySet[CustomModel]) -> None:
        self.one_by_one(request, queryset, partial(cancel_open, actor=actor_of(request)), "Canceled the training")

    @admin.action(description="Delete with all pictures and versions", permissions=["act"])
    def delete_models(self, request: HttpRequest, queryset: QuerySet[CustomModel]) -> None:
        self.one_by_one(request, queryset, partial(custom.delete_model, actor=actor_of(request)), "Deleted")


class ModelVersionAdmin(LookAdmin):
    list_display = ("number", "model_link", "team_link", "job_link", "iteration", "images_count", "ready", "created_at")
    list_select_related = ("model__team", "job")
    search_fields = ("model__name", "model__trigger_word", "model__team__name")
    search_ids = ("id", "model_id", "job_id", "model__team_id")
    search_help_text = "A version's, model's, job's or team's id, or part of a model's name, trigger word or team name"
    ordering = ("-created_at",)
    fields = (
        "id", "model_link", "team_link", "number", "parent", "iteration", "job_link", "settings", "images_count",
        "steps_done", "losses", "samples", "checkpoint_key", "checkpoint_sha256", "adapter_key", "adapter_sha256",
        "adapter_bytes", "base_revision", "deleted_at", "created_at", "finished_at",
    )  # fmt: skip

    @admin.display(description="model")
    def model_link(self, version: ModelVersion) -> str:
        return link_to(version.model)

    @admin.display(description="team")
    def team_link(self, version: ModelVersion) -> str:
        return link_to(version.model.team)

    @admin.display(description="job")
    def job_link(self, version: ModelVersion) -> str:
        return link_to(version.job)

    @admin.display(boolean=True)
    def ready(self, version: ModelVersion) -> bool:
        return version.is_ready


class TrainingImageAdmin(LookAdmin):
    list_display = ("position", "thumbnail", "model_link", "team_link", "width", "height", "size_bytes", "created_at")
    list_select_related = ("model", "team")
    list_per_page = 50
    search_fields = ("model__name", "model__trigger_word", "team__name", "key")
    search_ids = ("id", "model_id", "team_id")
    search_help_text = "A picture's, model's or team's id, or part of a model's name, trigger word or team name"
    ordering = ("-created_at",)
    fields = (
        "id", "thumbnail", "model_link", "team_link", "position", "caption", "width", "height", "size_bytes", "sha256",
        "key", "thumbnail_key", "created_at",
    )  # fmt: skip

    @admin.display(description="picture")
    def thumbnail(self, picture: TrainingImage) -> str:
        link = storage.link(picture.thumbnail_key)
        return format_html('<img src="{}" alt="{}" height="{}" loading="lazy">', link, picture.caption, THUMBNAIL_PX)

    @admin.display(description="model")
    def model_link(self, picture: TrainingImage) -> str:
        return link_to(picture.model)

    @admin.display(description="team")
    def team_link(self, picture: TrainingImage) -> str:
        return link_to(picture.team)


def cancel_open(model: CustomModel, *, actor: str) -> Job:
    """Raises: JobIsOver, where no training of the model is open; as `services.cancel_job`."""
    version = queries.open_training(model)
    if version is None:
        raise JobIsOver("No training of this model is open.")
    return services.cancel_job(version.job, actor=actor)


def register() -> None:
    """Called by `generation.admin`, which Django finds by its name."""
    pairs: dict[type[Model], Any] = {
        CustomModel: CustomModelAdmin, ModelVersion: ModelVersionAdmin, TrainingImage: TrainingImageAdmin,
    }  # fmt: skip
    for model, model_admin in pairs.items():
        admin.site.register(model, model_admin)
