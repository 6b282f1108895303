"""The starter model: the painter, the captions and the training of the small pipeline that ships with the product.

Nothing here knows Django. `weights/` holds a folder in the layout of `StableDiffusionPipeline`.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
