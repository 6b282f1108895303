"""The REST interface about pictures."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView

from generation import api, api_model_parts, api_models, api_quotes, api_reference, api_webhooks

app_name = "api"
# Ids are taken as text, so that a broken one is refused in JSON, like everything else.
urlpatterns = [
    path("", api.RootView.as_view(), name="root"),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("generate", api.GenerateView.as_view(), name="generate"),
    path("generate/<str:job_id>", api.GenerationView.as_view(), name="generation"),
    path("quotes", api_quotes.QuoteView.as_view(), name="quotes"),
    path("jobs", api.JobListView.as_view(), name="jobs"),
    path("jobs/<str:job_id>", api.JobView.as_view(), name="job"),
    path("parse-prompt", api.ParsePromptView.as_view(), name="parse_prompt"),
    path("styles", api.StyleListView.as_view(), name="styles"),
    path("reference-models", api_reference.ReferenceModelListView.as_view(), name="reference_models"),
    path("reference-models/<str:reference_id>", api_reference.ReferenceModelView.as_view(), name="reference_model"),
    path("images/<str:image_id>/<str:variant>", api.ImageView.as_view(), name="image"),
    path("models", api_models.ModelListView.as_view(), name="models"),
    path("models/<str:model_id>", api_models.ModelView.as_view(), name="model"),
    path("models/<str:model_id>/train", api_models.TrainView.as_view(), name="train_model"),
    path("models/<str:model_id>/refine", api_models.RefineView.as_view(), name="refine_model"),
    path("models/<str:model_id>/images", api_model_parts.PictureListView.as_view(), name="model_images"),
    path("models/<str:model_id>/images/<str:picture_id>", api_model_parts.PictureView.as_view(), name="model_image"),
    path("models/<str:model_id>/captions", api_model_parts.CaptionsView.as_view(), name="suggest_captions"),
    path("models/<str:model_id>/versions", api_model_parts.VersionListView.as_view(), name="versions"),
    path("models/<str:model_id>/versions/<str:number>", api_model_parts.VersionView.as_view(), name="version"),
    path(
        "models/<str:model_id>/versions/<str:number>/promote",
        api_model_parts.PromoteView.as_view(),
        name="promote_version",
    ),
    path("webhooks/provider/<str:provider_id>", api_webhooks.ProviderWebhookView.as_view(), name="provider_webhook"),
    re_path(r"", api.NotFoundView.as_view(), name="not_found"),
]
