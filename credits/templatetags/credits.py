"""Credits in templates."""

from django import template

from credits.amounts import show

register = template.Library()
register.filter("credits", show)
