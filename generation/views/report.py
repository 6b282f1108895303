"""The staff's report: tables of the last days, and plots that are plain SVG elements with attributes only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from generation import owner
from generation import report as reports

CHOICES = (7, 30, 90, 365)
DAYS_DEFAULT = 30
WIDTH, HEIGHT = 720, 120
MINUTE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Bar:
    """One day in a plot, in SVG units."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars over days. `top` is what a bar of full height stands for."""

    title: str
    top: str
    bars: Sequence[Bar]
    width: int = WIDTH
    height: int = HEIGHT


def report(request: HttpRequest) -> HttpResponse:
    days = days_of(request.GET.get("days", ""))
    span = reports.last_days(days)
    made = reports.make(span)
    context = {
        **admin.site.each_context(request),
        "title": f"Report: {days} days",
        "report": made,
        "owner": owner.figures(span, made),
        "plots": plots_of(made),
        "days": days,
        "choices": CHOICES,
        "currency": settings.PRICE_CURRENCY,
        "has_price": made.total.cost is not None,
        "device_price": settings.DEVICE_PRICE_PER_HOUR,
        "storage_price": settings.STORAGE_PRICE_PER_GB_MONTH,
    }
    return render(request, "generation/report.html", context)


def days_of(text: str) -> int:
    """The days somebody asked for; the usual number for anything else."""
    is_number = text.isascii() and text.isdecimal() and len(text) < 5
    return int(text) if is_number and 1 <= int(text) <= reports.DAYS_MAX else DAYS_DEFAULT


def plots_of(made: reports.Report) -> list[Plot]:
    names = [line.name for line in made.days]
    return [
        plot("Images a day", names, [line.images for line in made.days]),
        plot("Jobs that failed a day", names, [line.failed for line in made.days]),
        plot("Processing, 95th percentile", names, [line.p95_seconds or 0 for line in made.days], " s"),
        plot("Device time a day", names, [line.device_seconds / MINUTE_SECONDS for line in made.days], " min"),
        plot("Visits a day", names, [day.visits for day in made.funnel]),
        plot("Sign-ups a day", names, [day.sign_ups for day in made.funnel]),
    ]


def plot(title: str, names: Sequence[str], values: Sequence[float], unit: str = "") -> Plot:
    top = max(values, default=0)
    step = WIDTH / max(1, len(values))
    bars = []
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        height = round(HEIGHT * value / top, 1) if top else 0.0
        label = f"{name}: {_short(value)}{unit}"
        bars.append(Bar(round(place * step, 1), round(HEIGHT - height, 1), round(step * 0.8, 1), height, label))
    return Plot(title, f"{_short(top)}{unit}", bars)


def _short(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
