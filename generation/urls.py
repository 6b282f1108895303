"""Pages about pictures."""

from django.urls import URLPattern

app_name = "generation"
urlpatterns: list[URLPattern] = []
