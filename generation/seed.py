"""The catalogue a newcomer finds: rows from readable files. Adds what is missing, edits nothing."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from generation.engine import catalog
from generation.models import CatalogueRow, ImageModel, Product, ReferenceModel, Style
from generation.params import MODEL_DEFAULT

FOLDER = Path(__file__).parent / "catalogue"
LOOKS_FILE = "reference_models.toml"
STATIC = Path(settings.BASE_DIR) / "static"


@transaction.atomic
def seed() -> dict[str, int]:
    """Load everything; how many rows of each kind are new."""
    return {
        "styles": _add(Style, read_rows("styles.toml", "style")),
        "products": _add(Product, read_rows("products.toml", "product")),
        "reference models": _add(ReferenceModel, [_look_row(row) for row in read_rows(LOOKS_FILE, "reference_model")]),
        "models": _add(ImageModel, [_model_row(spec) for spec in catalog.CATALOG.values()]),
    }


@cache
def read_rows(file: str, table: str) -> list[dict[str, Any]]:
    return tomllib.loads((FOLDER / file).read_text())[table]


def preview_of(slug: str) -> str:
    """Where a look's sample picture lies below `static/`."""
    return f"reference/{slug}.webp"


def _look_row(row: dict[str, Any]) -> dict[str, Any]:
    preview = preview_of(row["slug"])
    return {**row, "preview": preview if (STATIC / preview).exists() else ""}


def _model_row(spec: catalog.ModelSpec) -> dict[str, Any]:
    # The others wait until an operator has fetched their weights and switches them on.
    is_active = spec.name == MODEL_DEFAULT
    return {"slug": spec.name, "name": spec.title, "description": spec.description[:300], "is_active": is_active}


def _add(model: type[CatalogueRow], rows: list[dict[str, Any]]) -> int:
    known = set(model._default_manager.values_list("slug", flat=True))
    missing = [model(**row, position=place) for place, row in enumerate(rows) if row["slug"] not in known]
    # Another process may seed at the same time.
    model._default_manager.bulk_create(missing, ignore_conflicts=True)
    return len(missing)
