"""What may be asked for: every limit of a request, and the one way to make a valid one.

Form and serializer take their limits from here and both end in `make`.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from generation.engine import catalog
from generation.errors import InvalidParams

PROMPT_CHARS_MAX = 1000
NEGATIVE_PROMPT_CHARS_MAX = 500
EXPANDED_PROMPT_CHARS_MAX = 2000
SLUG_CHARS_MAX = 40
COUNT_MAX = 4
SEED_MAX = 2**32 - 1
QUALITIES = ("standard", "hd")
HD_STEPS_FACTOR = 2  # hd spends its price on more denoising steps
MODEL_DEFAULT = "starter"
VERSION_MAX = 10_000
SLUG = re.compile(rf"[a-zA-Z0-9_-]{{1,{SLUG_CHARS_MAX}}}")
_LATER_FIELDS = ("reference_model", "custom_model", "version")

# Formatting characters that can turn a text around or hide part of it; letters of every script stay.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}
_KEPT_FORMAT = {"\u200d"}  # joins emoji


@dataclass(frozen=True, slots=True)
class Params:
    """One request for pictures, valid by construction: see `make`."""

    prompt: str
    negative_prompt: str
    expanded_prompt: str  # what the person edited; empty: expand for me
    expand: bool
    model: str
    style: str  # slug, or empty
    product: str  # slug, or empty
    width: int
    height: int
    quality: str
    count: int
    seed: int | None  # None: any
    num_inference_steps: int
    guidance_scale: float
    reference_model: str = ""  # slug of a look, or empty
    custom_model: str = ""  # id of a model of the team's own, or empty
    version: int | None = None  # of the custom model; None: its current one

    def __post_init__(self) -> None:
        assert 0 < len(self.prompt) <= PROMPT_CHARS_MAX
        assert 1 <= self.count <= COUNT_MAX and self.quality in QUALITIES
        assert self.seed is None or 0 <= self.seed <= SEED_MAX
        assert (self.width, self.height) in catalog.get(self.model).sizes
        assert self.version is None or self.custom_model

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def fingerprint(self) -> str:
        """The same for the same request, so that a reused request key shows."""
        # What came later counts only where it is used: a key from before must still find its first job.
        said = {name: value for name, value in self.as_dict().items() if value or name not in _LATER_FIELDS}
        return fingerprint_of(said)


def fingerprint_of(asked: Mapping[str, Any]) -> str:
    """One text for what was asked for, whatever the order it was said in."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def clean_text(text: str) -> str:
    """Make a text safe to store and show: normal form C, one line, nothing invisible."""
    visible = (
        " " if c.isspace() else c
        for c in unicodedata.normalize("NFC", text)
        if c.isspace() or c in _KEPT_FORMAT or unicodedata.category(c) not in _HIDDEN
    )
    return " ".join("".join(visible).split())


def make(fields: Mapping[str, Any]) -> Params:
    """Make `Params` from plain values; what is missing or None gets the model's default.

    Raises:
        InvalidParams: with a sentence for every field that is not offered.
    """
    errors: dict[str, str] = {}
    given = {name: value for name, value in fields.items() if value is not None}
    spec = _spec(given, errors)
    texts = _texts(given, errors)
    width, height = _size(given, spec, errors)
    quality = given.get("quality") or QUALITIES[0]
    if quality not in QUALITIES:
        errors["quality"] = f"Choose one of: {', '.join(QUALITIES)}."
    steps_default = steps_of(spec, quality, spec.steps_default)
    steps = _number(given, "num_inference_steps", spec.steps_min, spec.steps_max, steps_default, errors)
    guidance = _number(given, "guidance_scale", spec.guidance_min, spec.guidance_max, spec.guidance_default, errors)
    count = _number(given, "count", 1, COUNT_MAX, 1, errors)
    seed = _number(given, "seed", 0, SEED_MAX, None, errors)
    drawn_with = _drawn_with(given, errors)
    if errors:
        raise InvalidParams(errors)
    return Params(
        **texts,
        expand=bool(given.get("expand", True)),
        model=spec.name,
        style=given.get("style") or "",
        product=given.get("product") or "",
        width=width,
        height=height,
        quality=quality,
        count=int(count),
        seed=None if seed is None else int(seed),
        num_inference_steps=int(steps),
        guidance_scale=float(guidance),
        **drawn_with,
    )


def steps_of(spec: catalog.ModelSpec, quality: str, steps: int) -> int:
    """The steps that a quality makes of the usual ones."""
    return min(steps * (HD_STEPS_FACTOR if quality == "hd" else 1), spec.steps_max)


def size_name(width: int, height: int) -> str:
    return f"{width}x{height}"


def nearest_size(spec: catalog.ModelSpec, ratio_width: int, ratio_height: int) -> tuple[int, int]:
    """The offered size whose shape is nearest to a ratio; among equals, the one nearest to the usual area."""
    usual_area = math.prod(spec.default_size)

    def distance(size: tuple[int, int]) -> tuple[float, float]:
        shape = abs(math.log(size[0] / size[1]) - math.log(ratio_width / ratio_height))
        return round(shape, 6), abs(math.log(math.prod(size) / usual_area))

    return min(spec.sizes, key=distance)


def _spec(given: Mapping[str, Any], errors: dict[str, str]) -> catalog.ModelSpec:
    name = given.get("model") or MODEL_DEFAULT
    if name in catalog.CATALOG:
        return catalog.get(name)
    errors["model"] = "There is no such model."
    return catalog.get(MODEL_DEFAULT)


def _drawn_with(given: Mapping[str, Any], errors: dict[str, str]) -> dict[str, Any]:
    """The look and the own model, in their one spelling. Whether they are there is for the database to say."""
    reference, custom = (str(given.get(name) or "").strip() for name in ("reference_model", "custom_model"))
    if reference and not SLUG.fullmatch(reference):
        errors["reference_model"] = "There is no such reference model."
    try:
        custom = str(UUID(custom)) if custom else ""
    except ValueError:
        errors["custom_model"] = "This is not the id of a model: a UUID."
    version = _number(given, "version", 1, VERSION_MAX, None, errors)
    if version is not None and not custom:
        errors.setdefault("version", "A version is of a model of your own: name the custom model, too.")
    return {"reference_model": reference, "custom_model": custom, "version": version}


def _texts(given: Mapping[str, Any], errors: dict[str, str]) -> dict[str, Any]:
    limits = {
        "prompt": PROMPT_CHARS_MAX,
        "negative_prompt": NEGATIVE_PROMPT_CHARS_MAX,
        "expanded_prompt": EXPANDED_PROMPT_CHARS_MAX,
    }
    texts = {name: clean_text(str(given.get(name, ""))) for name in limits}
    for name, limit in limits.items():
        if len(texts[name]) > limit:
            errors[name] = f"Use at most {limit:,} characters; this has {len(texts[name]):,}."
    if not texts["prompt"]:
        errors["prompt"] = "Describe the picture you want."
    return texts


def _size(given: Mapping[str, Any], spec: catalog.ModelSpec, errors: dict[str, str]) -> tuple[int, int]:
    name = given.get("size") or size_name(*spec.default_size)
    offered = {size_name(*size): size for size in spec.sizes}
    if name not in offered:
        errors["size"] = f"{spec.title} offers these sizes: {', '.join(offered)}."
        return spec.default_size
    return offered[name]


def _number(given: Mapping[str, Any], name: str, low: float, high: float, default: Any, errors: dict[str, str]) -> Any:
    value = given.get(name, default)
    if value is not None and not low <= value <= high:
        errors[name] = f"Choose a number from {low:,.10g} to {high:,.10g}."
    return value
