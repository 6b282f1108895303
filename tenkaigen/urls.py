"""Every URL of the product."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from credits.billing.webhook import receive as stripe_webhook
from generation.views.nodes import nodes
from generation.views.report import report
from tenkaigen import views
from tenkaigen.metrics import metrics

urlpatterns = [
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path(f"{settings.ADMIN_PATH}report/", admin.site.admin_view(report), name="admin_report"),
    path(f"{settings.ADMIN_PATH}nodes/", admin.site.admin_view(nodes), name="admin_nodes"),
    path(settings.ADMIN_PATH, admin.site.urls),
    path("accounts/2fa/", include("allauth.mfa.urls")),
    path("accounts/sessions/", include("allauth.usersessions.urls")),
    path("accounts/", include("allauth.account.urls")),
    path("", include("accounts.urls")),
    path("", include("credits.urls")),
    path("api/v1/", include("credits.api_urls")),
    path("api/v1/", include("credits.billing.api_urls")),
    path("api/v1/", include("generation.api_urls")),
    path("", include("credits.billing.urls")),
    path("stripe/webhook/<uuid:uuid>/", stripe_webhook, name="stripe_webhook"),
    path("", include("generation.urls")),
]

handler403 = "tenkaigen.views.forbidden"
handler404 = "tenkaigen.views.not_found"
handler500 = "tenkaigen.views.server_error"
