"""How a model is taught: the settings of a training, from its base model and its pictures. Pure."""

from dataclasses import asdict, dataclass
from typing import Any

from generation.engine.catalog import ENCODER_FAMILIES, ModelSpec
from generation.training_limits import steps_for

RANK = 8
LEARNING_RATE = 1e-4
# The small starter moves little in as few steps as suit a handful of pictures.
LEARNING_RATE_OF = {"starter": 6e-3}
# The starter's was taught to pass over words that it does not know: one that does not learn never sees a trigger word.
ENCODER_LEARNS_ALWAYS = frozenset({"starter"})
BATCH_PIXELS_MAX = 2 * 512 * 512  # as many pictures a step as fit into this, one or two
# The sheet that all versions of a model are compared by: the same words and the same noise each time.
SAMPLES = (
    ("{word}", 11),
    ("{word}, in front of mountains", 23),
    ("{word}, at night", 37),
    ("a close view of {word}", 53),
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a training depends on besides its pictures. Stored as a version's `settings`."""

    steps: int
    rank: int
    learning_rate: float
    resolution: int  # pixels of a side
    batch_size: int
    seed: int
    train_text_encoder: bool
    samples: list[dict[str, Any]]  # prompt, seed

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def make(
    spec: ModelSpec, *, trigger_word: str, pictures: int, steps: int | None, train_text_encoder: bool, seed: int
) -> Recipe:
    """What suits so many pictures; `steps` where somebody chose them.

    Args:
        train_text_encoder: a wish. Families that refuse it train without; the starter always trains it.
    """
    resolution = min(spec.native_size or spec.default_size)
    return Recipe(
        steps=steps or steps_for(pictures),
        rank=RANK,
        learning_rate=LEARNING_RATE_OF.get(spec.name, LEARNING_RATE),
        resolution=resolution,
        batch_size=2 if pictures > 1 and 2 * resolution * resolution <= BATCH_PIXELS_MAX else 1,
        seed=seed,
        train_text_encoder=spec.name in ENCODER_LEARNS_ALWAYS
        or (train_text_encoder and spec.pipeline in ENCODER_FAMILIES),
        samples=[{"prompt": prompt.format(word=trigger_word), "seed": noise} for prompt, noise in SAMPLES],
    )
