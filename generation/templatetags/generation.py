"""What the pages need to show pictures: icons, previews of styles, lengths of time."""

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince

from generation import queries
from generation.models import Job, ReferenceModel

register = template.Library()

# Drawn on a 24 x 24 grid with a stroke of 1.75. They stand in the page, so they take its colour.
ICONS = {
    "studio": '<path d="M12 20C7.5 15.5 7.5 9 12 4c4.5 5 4.5 11.5 0 16Z"/>'
    '<path d="M12 20C6.5 19 3.5 15 3.5 10c2.5.2 4.6 1.2 6 2.9"/>'
    '<path d="M12 20c5.5-1 8.5-5 8.5-10-2.5.2-4.6 1.2-6 2.9"/>',
    "gallery": '<rect x="3.5" y="4.5" width="17" height="15" rx="2.5"/><circle cx="9" cy="10" r="1.6"/>'
    '<path d="m4 17 4.5-4 3.5 3 4-4.5 4.5 5"/>',
    "jobs": '<path d="M8.5 6.5h11M8.5 12h11M8.5 17.5h11M4.5 6.5h.01M4.5 12h.01M4.5 17.5h.01"/>',
    "account": '<circle cx="12" cy="8.5" r="3.75"/><path d="M4.5 20c1-4 4-5.75 7.5-5.75s6.5 1.75 7.5 5.75"/>',
    "team": '<circle cx="9" cy="9" r="3.25"/><path d="M2.5 19.5c.8-3.4 3.4-5 6.5-5s5.7 1.6 6.5 5"/>'
    '<path d="M15 6a3.25 3.25 0 0 1 0 6.2M17.5 14.9c2.2.6 3.6 2.2 4 4.6"/>',
    "download": '<path d="M12 4v11m0 0 4.5-4.5M12 15l-4.5-4.5M4.5 19.5h15"/>',
    "again": '<path d="M19.5 12a7.5 7.5 0 1 1-2.4-5.5M19.5 3.5v4h-4"/>',
    "delete": '<path d="M4.5 7h15M9.5 7V4.5h5V7M6.5 7l1 12.5h9l1-12.5M10.5 11v5M13.5 11v5"/>',
    "close": '<path d="m6.5 6.5 11 11m0-11-11 11"/>',
    "theme": '<circle cx="12" cy="12" r="7.5"/><path d="M12 4.5a7.5 7.5 0 0 1 0 15Z" fill="currentColor"/>',
    "arrow": '<path d="M4.5 12h15m0 0-5.5-5.5M19.5 12 14 17.5"/>',
    "wand": '<path d="m4.5 19.5 9-9M15 4v3.5M15 11v2.5M10.5 9H13M17 9h3M17.5 6.5l1-1"/>',
    "models": '<path d="M12 3.5 20 8v8l-8 4.5L4 16V8Z"/><path d="M4.3 8 12 12.2 19.7 8M12 12.2v8"/>',
    "coin": '<circle cx="12" cy="12" r="7.75"/><path d="M12 8.5c2 2.3 2 4.7 0 7-2-2.3-2-4.7 0-7Z"/>',
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """An icon without a meaning of its own: the words beside it, or the label around it, say it."""
    drawing = mark_safe(ICONS[name])  # noqa: S308  (ours, from above)
    return format_html(
        '<svg class="icon" viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor" '
        'stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">'
        "{}</svg>",
        drawing,
    )


@register.simple_tag
def style_preview(slug: str) -> str:
    """The address of a style's sample picture; empty until `render_style_previews` has drawn it."""
    return static(f"styles/{slug}.webp") if _has_preview(slug) else ""


@register.simple_tag
def reference_preview(look: ReferenceModel) -> str:
    """The address of a look's sample picture; empty until `render_previews` has drawn it."""
    return static(look.preview) if look.preview and _is_static(look.preview) else ""


@register.filter
def seconds(milliseconds: int | None) -> str:
    """`850` as `0.9 s`, `12340` as `12 s`."""
    if milliseconds is None:
        return "–"
    return f"{milliseconds / 1000:.1f} s" if milliseconds < 10_000 else f"{milliseconds / 1000:.0f} s"


@register.filter
def ago(moment: datetime) -> str:
    """`3 minutes ago`, and `just now` below one."""
    if timezone.now() - moment < timedelta(minutes=1):
        return "just now"
    return f"{timesince(moment, depth=1)} ago"


@register.filter
def style_name(slug: str) -> str:
    return queries.catalogue_names().get(f"style:{slug}", slug)


@register.filter
def product_name(slug: str) -> str:
    return queries.catalogue_names().get(f"product:{slug}", slug)


@register.filter
def drawn_with(job: Job) -> str:
    """The look and the own model behind a job's pictures, in words; empty: neither."""
    version = job.model_version
    own = f"{version.model}, version {version.number}" if version else ""
    return " · ".join(filter(None, [own, look_name(job.reference_model)]))


@register.filter
def look_name(slug: str) -> str:
    return queries.catalogue_names().get(f"look:{slug}", slug)


@cache
def _has_preview(slug: str) -> bool:
    return _is_static(f"styles/{slug}.webp")


@cache
def _is_static(name: str) -> bool:
    # A row may name a file that another release had; the storage of static files would raise.
    return (Path(settings.BASE_DIR) / "static" / name).exists()
