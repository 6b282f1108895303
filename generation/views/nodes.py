"""The staff's page of the processes that draw."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from generation.nodes import WINDOW_SECONDS, shown


def nodes(request: HttpRequest) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "GPU nodes",
        "nodes": shown(),
        "window_minutes": round(WINDOW_SECONDS / 60),
    }
    return render(request, "generation/nodes.html", context)
