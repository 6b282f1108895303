"""Credits in templates."""

from django import template

from credits.amounts import show
from credits.queries import grants_of

register = template.Library()
register.filter("credits", show)
register.simple_tag(grants_of)
