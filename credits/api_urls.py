"""The REST interface about credits."""

from django.urls import path

from credits import api

app_name = "credits_api"
# Ids are taken as text, so that a broken one is refused in JSON, like everything else.
urlpatterns = [
    path("credits/balance", api.BalanceView.as_view(), name="balance"),
    path("key", api.KeyView.as_view(), name="key"),
    path("credits/history", api.HistoryView.as_view(), name="history"),
    path("passes", api.PassListView.as_view(), name="passes"),
    path("passes/<str:pass_id>/activate", api.ActivatePassView.as_view(), name="activate_pass"),
]
