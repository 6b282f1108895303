"""Pages about models of one's own, in the same name space as those about pictures."""

from django.urls import path

from generation.views import model_acts, model_pictures, model_wizard, models

models_urlpatterns = [
    path("models", models.models, name="models"),
    path("models/more", models.models_more, name="models_more"),
    path("models/new", model_wizard.model_new, name="model_new"),
    path("models/<uuid:model_id>", models.model, name="model"),
    path("models/<uuid:model_id>/look", model_wizard.model_look, name="model_look"),
    path("models/<uuid:model_id>/name", model_wizard.model_name, name="model_name"),
    path("models/<uuid:model_id>/word", model_wizard.model_word, name="model_word"),
    path("models/<uuid:model_id>/check", model_wizard.model_check, name="model_check"),
    path("models/<uuid:model_id>/training-settings", model_wizard.training_settings, name="training_settings"),
    path("models/<uuid:model_id>/cover", models.model_cover, name="model_cover"),
    path("models/<uuid:model_id>/training", models.model_training, name="model_training"),
    path("models/<uuid:model_id>/cancel", model_acts.model_cancel, name="model_cancel"),
    path("models/<uuid:model_id>/retry", model_acts.model_retry, name="model_retry"),
    path("models/<uuid:model_id>/refine", model_acts.model_refine, name="model_refine"),
    path("models/<uuid:model_id>/rename", model_acts.model_rename, name="model_rename"),
    path("models/<uuid:model_id>/delete", model_acts.model_delete, name="model_delete"),
    path("models/<uuid:model_id>/versions/<int:number>/use", model_acts.version_promote, name="version_promote"),
    path("models/<uuid:model_id>/versions/<int:number>/delete", model_acts.version_delete, name="version_delete"),
    path("models/<uuid:model_id>/versions/<int:number>/samples/<int:index>", models.model_sample, name="model_sample"),
    path("models/<uuid:model_id>/pictures", model_pictures.model_pictures, name="model_pictures"),
    path("models/<uuid:model_id>/pictures/add", model_pictures.picture_add, name="picture_add"),
    path("models/<uuid:model_id>/pictures/grid", model_pictures.pictures_grid, name="pictures_grid"),
    path("models/<uuid:model_id>/pictures/captions", model_pictures.captions_suggest, name="captions_suggest"),
    path(
        "models/<uuid:model_id>/pictures/<uuid:picture_id>/remove", model_pictures.picture_remove, name="picture_remove"
    ),
    path(
        "models/<uuid:model_id>/pictures/<uuid:picture_id>/caption",
        model_pictures.picture_caption,
        name="picture_caption",
    ),
    path(
        "models/<uuid:model_id>/pictures/<uuid:picture_id>/<slug:variant>", model_pictures.picture_file, name="picture"
    ),
]
