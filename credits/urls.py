"""Pages about credits."""

from django.urls import path

from credits.billing.views import pricing
from credits.views import dashboard, passes, statement

app_name = "credits"
urlpatterns = [
    path("credits", dashboard.dashboard, name="dashboard"),
    path("credits/panel", dashboard.panel, name="panel"),
    path("credits/notices/<int:notice_id>/dismiss", dashboard.dismiss_notice, name="dismiss_notice"),
    path("credits/statement", statement.statement, name="statement"),
    path("credits/statement/more", statement.statement_more, name="statement_more"),
    path("credits/statement.csv", statement.statement_csv, name="statement_csv"),
    path("passes/<uuid:pass_id>/start", passes.start_pass, name="start_pass"),
    path("plans", pricing, name="plans"),
]
