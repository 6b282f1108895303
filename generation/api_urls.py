"""The REST interface about pictures."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView

from generation import api, api_quotes, api_reference, api_webhooks

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
    path("webhooks/provider/<str:provider_id>", api_webhooks.ProviderWebhookView.as_view(), name="provider_webhook"),
    re_path(r"", api.NotFoundView.as_view(), name="not_found"),
]
