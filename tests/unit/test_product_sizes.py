"""Which size a product gets."""

import pytest

from generation.engine import catalog
from generation.params import nearest_size


@pytest.mark.parametrize(
    ("ratio", "size"), [((1, 1), (256, 256)), ((2, 3), (256, 384)), ((3, 2), (384, 256)), ((4, 3), (512, 384))]
)
def test_a_product_gets_the_size_of_its_shape(ratio, size):
    assert nearest_size(catalog.get("starter"), *ratio) == size


@pytest.mark.parametrize(("ratio", "size"), [((10, 1), (384, 256)), ((1, 10), (256, 384)), ((100, 101), (256, 256))])
def test_an_odd_shape_gets_the_nearest_one(ratio, size):
    assert nearest_size(catalog.get("starter"), *ratio) == size


@pytest.mark.parametrize("name", catalog.CATALOG)
def test_every_model_has_a_size_for_every_shape(name):
    spec = catalog.get(name)
    assert all(nearest_size(spec, wide, tall) in spec.sizes for wide in range(1, 6) for tall in range(1, 6))
