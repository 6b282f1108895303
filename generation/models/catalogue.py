"""What people choose from: styles, products and models. Loaded by `seed_catalogue` from readable files."""

from decimal import Decimal
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models


class CatalogueRow(models.Model):
    """What staff can reorder and switch off. Loaded by `seed_catalogue` from readable files."""

    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=60)
    position = models.PositiveSmallIntegerField(default=0)
    is_active = models.BooleanField(default=True)

    class Meta:
        abstract = True
        ordering: ClassVar = ["position", "slug"]

    def __str__(self) -> str:
        return self.name


class Style(CatalogueRow):
    """A look: what is added to a prompt, and what is kept out."""

    description = models.CharField(max_length=200, blank=True)
    recipe = models.CharField(max_length=400, help_text="`{prompt}` stands for the person's words.")
    negative_prompt = models.CharField(max_length=400, blank=True)
    keywords = models.CharField(max_length=200, blank=True, help_text="Words, comma separated, that call this style.")


class Product(CatalogueRow):
    """A thing to design for: its print area sets the aspect of the picture."""

    ratio_width = models.PositiveSmallIntegerField(validators=[MinValueValidator(1)])
    ratio_height = models.PositiveSmallIntegerField(validators=[MinValueValidator(1)])
    side_px_min = models.PositiveIntegerField(help_text="Shortest side that prints well, in pixels.")
    recipe = models.CharField(max_length=200, blank=True, help_text="Added to the expanded prompt.")


class ImageModel(CatalogueRow):
    """A model of the engine's catalogue as the operator offers it."""

    description = models.CharField(max_length=300, blank=True)
    complexity = models.DecimalField(
        max_digits=4, decimal_places=2, default=Decimal(1), validators=[MinValueValidator(Decimal("0.01"))]
    )


class ReferenceModel(CatalogueRow):
    """A ready look to draw with, and to train models of one's own from."""

    class Category(models.TextChoices):
        FASHION = "fashion"
        FITNESS = "fitness"
        BEAUTY = "beauty"
        LIFESTYLE = "lifestyle"
        BUSINESS = "business"

    category = models.CharField(max_length=10, choices=Category.choices)
    description = models.CharField(max_length=300)
    complexity = models.DecimalField(
        max_digits=3, decimal_places=2, validators=[MinValueValidator(Decimal(1)), MaxValueValidator(Decimal(2))]
    )
    base_model = models.CharField(max_length=60, blank=True, help_text="Of the catalogue. Empty: TRAINING_BASE_MODEL.")
    recipe = models.CharField(max_length=400, help_text="`{prompt}` stands for the person's words.")
    negative_prompt = models.CharField(max_length=400, blank=True)
    example_prompt = models.CharField(max_length=200, help_text="What its preview shows.")
    defaults = models.JSONField(
        default=dict, blank=True, help_text="Of a request: size, num_inference_steps, guidance_scale."
    )
    preview = models.CharField(max_length=200, blank=True, help_text="A file under static/; empty: none yet.")

    class Meta(CatalogueRow.Meta):
        indexes: ClassVar = [models.Index(fields=["category", "position"], name="reference_model_list")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(complexity__gte=1, complexity__lte=2), name="reference_model_complexity_is_1_to_2"
            )
        ]
