"""The REST interface about pictures."""

from django.urls import URLPattern

app_name = "api"
urlpatterns: list[URLPattern] = []
