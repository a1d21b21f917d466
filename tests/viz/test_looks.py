"""Heat maps: what a cell's colour says of attention, masks and large tensors."""

import re

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
import viz
from tinygrad_edu import Tensor
from viz.figures import caption, picture
from viz.looks import PLAIN, Look
from viz.palette import LIGHT, Style

STYLE = Style(LIGHT, down=True, detailed=True)


def colours(drawn: str) -> list[str]:
    return re.findall(r'bgcolor="(#\w+)"', drawn)


def masked_softmax(shape: tuple[int, ...] = (2, 3, 3)) -> Tensor:
    scores = Tensor(np.linspace(-1, 1, int(np.prod(shape))).reshape(shape), requires_grad=True, name="S")
    masked = te.where(np.tri(*shape[-2:], dtype=bool), scores, -np.inf)
    masked.name = "M"
    weights = F.softmax(masked)
    weights.name = "A"
    loss = (weights * weights).sum()
    loss.backward()
    return loss


def test_masked_cells_are_grey_in_value_and_gradient() -> None:
    source = viz.draw(masked_softmax()).source
    for name in ("M", "A"):
        (label,) = (line for line in source.splitlines() if f"<b>{name} =" in line)
        assert (
            colours(label).count(LIGHT.masked) == 2 * 2 * 3
        )  # value and gradient, 2 heads, 3 cells above the diagonal
        assert "grey: masked" in label


def test_attention_is_a_square_for_each_head() -> None:
    source = viz.draw(masked_softmax((2, 3, 3))).source
    (label,) = (line for line in source.splitlines() if "<b>A =" in line)
    assert len(re.findall(r">[01]</font>", label)) == 4
    assert len(colours(label)) - colours(label).count(LIGHT.gradient_tint) >= 2 * 2 * 9
    many = viz.draw(masked_softmax((20, 2, 2))).source
    assert "and 8 more" in many


def test_weights_run_from_white_to_blue() -> None:
    drawn = picture(np.eye(3), LIGHT.value, STYLE, Look(weights=True))
    assert colours(drawn) == [LIGHT.weight if i % 4 == 0 else LIGHT.zero for i in range(9)]


def test_a_block_that_is_masked_in_part_is_the_mean_of_the_rest() -> None:
    array = np.where(np.tri(64) == 1, 2.0, -np.inf)
    drawn = colours(picture(array, LIGHT.value, STYLE, Look(np.isneginf(array))))
    assert set(drawn) == {LIGHT.masked, LIGHT.positive}
    assert drawn.count(LIGHT.masked) == 16 * 15 // 2


def test_fused_attention_shows_the_weights_that_it_keeps() -> None:
    q, k, v = (Tensor(np.random.default_rng(n).normal(size=(2, 4, 3)), requires_grad=True) for n in range(3))
    loss = F.scaled_dot_product_attention(q, k, v, is_causal=True).sum()
    loss.backward()
    source = viz.draw(loss).source
    assert "attention weights: row = query, column = key" in source
    weights = loss.inputs[0].saved[0]
    assert f"norm {viz.text.number(viz.text.norm(weights))}, grey: masked" in source


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((4, 5), "norm 4.472"),
        ((1, 4, 5), "norm 4.472"),
        ((2, 3, 5), "norm 5.477  6 rows"),
        ((2, 20, 40), "norm 40  40 rows  16 × 16 block means"),
    ],
)
def test_captions_say_what_the_rows_are(shape: tuple[int, ...], words: str) -> None:
    assert caption(np.ones(shape), STYLE, PLAIN) == words


def test_where_there_are_many_heat_maps_they_are_coarser() -> None:
    def size(ops: int) -> int:
        y = Tensor(np.ones((16, 16)), requires_grad=True)
        for _ in range(ops):
            y = y.sin()
        y.sum().backward()
        return len(viz.draw(y.sum()).source)

    assert size(50) < 3 * size(10)
