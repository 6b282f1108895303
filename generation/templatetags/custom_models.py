"""What the pages of models need."""

from django import template

register = template.Library()


@register.filter
def loss(value: float) -> str:
    """`0.084`, `1.2`: three digits that count."""
    return f"{value:.3g}"
