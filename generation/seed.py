"""The catalogue a newcomer finds: rows from readable files. Adds what is missing, edits nothing."""

import tomllib
from pathlib import Path
from typing import Any

from django.db import transaction

from generation.engine import catalog
from generation.models import CatalogueRow, ImageModel, Product, Style
from generation.params import MODEL_DEFAULT

FOLDER = Path(__file__).parent / "catalogue"


@transaction.atomic
def seed() -> dict[str, int]:
    """Load everything; how many rows of each kind are new."""
    return {
        "styles": _add(Style, read_rows("styles.toml", "style")),
        "products": _add(Product, read_rows("products.toml", "product")),
        "models": _add(ImageModel, [_model_row(spec) for spec in catalog.CATALOG.values()]),
    }


def read_rows(file: str, table: str) -> list[dict[str, Any]]:
    return tomllib.loads((FOLDER / file).read_text())[table]


def _model_row(spec: catalog.ModelSpec) -> dict[str, Any]:
    # The others wait until an operator has fetched their weights and switches them on.
    is_active = spec.name == MODEL_DEFAULT
    return {"slug": spec.name, "name": spec.title, "description": spec.description[:300], "is_active": is_active}


def _add(model: type[CatalogueRow], rows: list[dict[str, Any]]) -> int:
    added = 0
    for position, row in enumerate(rows):
        _, is_new = model._default_manager.get_or_create(slug=row["slug"], defaults={**row, "position": position})
        added += is_new
    return added
