"""What people choose from, for staff: styles, products and base models. The looks are in `admin_looks`."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from generation.models import ImageModel, Product, Style


class CatalogueAdmin(admin.ModelAdmin):
    """Rows that people choose from. Jobs name them by slug, so a slug stays, and a row is switched off, not deleted."""

    list_display: tuple[str, ...] = ("name", "slug", "position", "is_active")
    list_editable = ("position", "is_active")
    search_fields: ClassVar[tuple[str, ...]] = ("name", "slug")
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("slug",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class StyleForm(forms.ModelForm):
    """Keeps a recipe from losing the person's words."""

    def clean_recipe(self) -> str:
        recipe = str(self.cleaned_data["recipe"])
        if "{prompt}" not in recipe:
            raise forms.ValidationError("Write {prompt} where the person's words belong.")
        return recipe


class StyleAdmin(CatalogueAdmin):
    form = StyleForm
    fields = ("slug", "name", "description", "recipe", "negative_prompt", "keywords", "position", "is_active")


class ProductAdmin(CatalogueAdmin):
    list_display = ("name", "slug", "ratio_width", "ratio_height", "side_px_min", "position", "is_active")
    fields = ("slug", "name", "ratio_width", "ratio_height", "side_px_min", "recipe", "position", "is_active")


class ImageModelAdmin(CatalogueAdmin):
    list_display = ("name", "slug", "complexity", "position", "is_active")
    fields = ("slug", "name", "description", "complexity", "position", "is_active")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # `seed_catalogue` adds what the engine's catalogue has; nothing else could be loaded


def register() -> None:
    admin.site.register(Style, StyleAdmin)
    admin.site.register(Product, ProductAdmin)
    admin.site.register(ImageModel, ImageModelAdmin)
