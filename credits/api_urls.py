"""The REST interface about credits."""

from django.urls import path

from credits import api

app_name = "credits_api"
urlpatterns = [path("history", api.HistoryView.as_view(), name="history")]
