"""Principal components of frozen maps: what a row keeps, who takes part in the fit, and what a blank picture gives."""

import pytest
import torch
import torch.nn.functional as F

from rumorlib.encoders.components import principal_rows


@pytest.fixture
def maps() -> torch.Tensor:
    """Twenty pictures of 3 x 3 cells whose 32 channels hold 4 numbers; the last picture is blank."""
    torch.manual_seed(0)
    made = torch.einsum("ikhw,kc->ichw", torch.randn(20, 4, 3, 3), torch.randn(4, 32)).half()
    made[-1] = 0
    return made


def test_products_of_standardised_rows_survive(maps: torch.Tensor) -> None:
    rows, kept = principal_rows(maps, torch.arange(19), 8)
    standard = F.layer_norm(maps[:19].float().flatten(2).transpose(1, 2), (32,)).flatten(0, 1)
    centred = standard - standard.mean(0)
    made = rows[:19].float().flatten(0, 1)
    assert rows.shape == (20, 9, 8) and rows.dtype == torch.float16 and kept > 0.95
    products = centred @ centred.T
    assert (made @ made.T - products).norm() < 0.1 * products.norm()
    assert torch.allclose(made.mean(0), torch.zeros(8), atol=1e-2)


def test_a_blank_picture_stays_blank(maps: torch.Tensor) -> None:
    rows, _ = principal_rows(maps, torch.arange(19), 4)
    assert not rows[-1].any() and rows[:19].flatten(1).any(dim=1).all()


def test_pictures_of_dev_and_test_take_no_part_in_the_fit(maps: torch.Tensor) -> None:
    before, _ = principal_rows(maps, torch.arange(10), 4)
    other = maps.clone()
    other[10:19] = torch.randn_like(other[10:19])
    after, _ = principal_rows(other, torch.arange(10), 4)
    assert torch.equal(before[:10], after[:10]) and not torch.equal(before[10:19], after[10:19])


def test_more_components_than_rows_are_refused(maps: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="components need"):
        principal_rows(maps, torch.arange(1), 10)
