"""Pages about pictures. Fragments have addresses of their own: no address is sometimes a page, sometimes a part."""

from django.urls import path

from generation.urls_models import models_urlpatterns
from generation.views import export, images, jobs, landing, reference_models, studio

app_name = "generation"
urlpatterns = [
    path("", landing.landing, name="landing"),
    path("start", landing.start, name="start"),
    path("studio", studio.studio, name="studio"),
    path("studio/submit", studio.submit, name="submit"),
    path("studio/quote", studio.quote, name="quote"),
    path("studio/expand", studio.expand, name="expand"),
    path("studio/settings", studio.model_settings, name="model_settings"),
    path("reference-models", reference_models.reference_models, name="reference_models"),
    path("reference-models/<slug:slug>", reference_models.reference_model, name="reference_model"),
    path("jobs", jobs.history, name="history"),
    path("jobs/more", jobs.history_more, name="history_more"),
    path("jobs/<uuid:job_id>", jobs.job, name="job"),
    path("jobs/<uuid:job_id>/receipt", jobs.receipt, name="receipt"),
    path("jobs/<uuid:job_id>/card", jobs.job_card, name="job_card"),
    path("jobs/<uuid:job_id>/progress", jobs.job_progress, name="job_progress"),
    path("jobs/<uuid:job_id>/preview", jobs.preview, name="preview"),
    path("jobs/<uuid:job_id>/cancel", jobs.cancel, name="cancel"),
    path("jobs/<uuid:job_id>/retry", jobs.retry, name="retry"),
    path("gallery", images.gallery, name="gallery"),
    path("gallery/more", images.gallery_more, name="gallery_more"),
    path("images/<uuid:image_id>/delete", images.image_delete, name="image_delete"),
    path("images/<uuid:image_id>/<slug:variant>", images.image, name="image"),
    path("account/export", export.export, name="export"),
    path("files/<str:token>", images.file, name="file"),
    *models_urlpatterns,
]
