"""Every URL of the product."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from tenkaigen import views

urlpatterns = [
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path(settings.ADMIN_PATH, admin.site.urls),
    path("accounts/", include("allauth.account.urls")),
    path("account/", include("accounts.urls")),
    path("api/v1/", include("generation.api_urls")),
    path("", include("generation.urls")),
]

handler403 = "tenkaigen.views.forbidden"
handler404 = "tenkaigen.views.not_found"
handler500 = "tenkaigen.views.server_error"
