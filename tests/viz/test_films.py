"""What a film records, and what it refuses."""

import base64
import json
import re
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
import viz
from tinygrad_edu import Tensor, nn, optim


def trained(steps: int = 3, **options: str) -> viz.Film:
    """A classifier of points that learns for a few steps."""
    te.manual_seed(0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 2)).astype(np.float32), rng.integers(0, 2, 20)
    model = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    film = viz.film(title="Points <b>", **options)
    for step in range(steps):
        logits = model(Tensor(X))
        loss = F.cross_entropy(logits, y)
        model.zero_grad()
        loss.backward()
        maps = np.full((2, 3, 3), 1 / 3)
        film.record(
            model,
            loss,
            step=10 * step,
            activations={"logits": logits},
            attention={"maps": maps},
            boundary=(model, X, y),
        )
        optimizer.step()
    return film


def data_of(film: viz.Film) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', film.html, re.DOTALL)
    return json.loads(found[1])


def cells(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8).astype(float)


def test_what_is_recorded_is_a_copy() -> None:
    film = trained()
    first, last = (moment.shots["weights", "0.weight"].matrix for moment in (film.frames[0], film.frames[-1]))
    assert not np.array_equal(first, last), "the optimizer changed the weights, not the film"
    assert [moment.step for moment in film.frames] == [0, 10, 20]
    assert film.frames[0].loss > film.frames[-1].loss


def test_the_page_has_the_numbers() -> None:
    film = trained()
    data = data_of(film)
    assert [group["kind"] for group in data["groups"]] == ["weights", "gradients", "activations", "attention"]
    weights = data["groups"][0]["figures"]
    assert [figure["name"] for figure in weights] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    matrices = [moment.shots["weights", "0.weight"].matrix for moment in film.frames]
    scale = max(np.abs(matrix).max() for matrix in matrices)
    for text, matrix in zip(weights[0]["cells"], matrices, strict=True):
        np.testing.assert_allclose((cells(text) - 127) / 127 * scale, matrix.ravel(), atol=scale / 127)
    assert data["moments"][1]["said"].startswith("step 10: loss 0.")
    assert data["curve"]["points"][0][1] < data["curve"]["points"][-1][1], "down is less"


def test_the_boundary_asks_the_model_of_that_moment() -> None:
    boundary = data_of(trained())["boundary"]
    grids = [cells(grid).reshape(boundary["side"], boundary["side"], 2) for grid in boundary["grids"]]
    assert set(np.unique(grids[0][..., 0])) <= {0, 1}
    assert not np.array_equal(grids[0], grids[-1])
    assert all(0 < x < 1 and 0 < y < 1 for x, y, _ in boundary["points"])
    film = viz.film()
    straight = lambda x: te.concatenate([x[:, :1], -x[:, :1]], axis=1)  # class 0 to the right
    film.record(nn.Linear(1, 1), 1.0, boundary=(straight, [[-1.0, -1.0], [1.0, 1.0]], [1, 0]))
    grid = cells(data_of(film)["boundary"]["grids"][0]).reshape(boundary["side"], boundary["side"], 2)
    assert (grid[:, -1, 0] == 0).all()
    assert (grid[:, 0, 0] == 1).all()


def test_large_arrays_are_pooled_and_what_is_no_number_is_told() -> None:
    film = viz.film()
    model = nn.Linear(300, 100)
    film.record(model, float("nan"), activations={"x": np.array([[np.nan, 1.0, -1.0]])})
    film.record(model, 2.0, activations={"x": np.zeros((1, 3))})
    data = data_of(film)
    assert data["groups"][0]["figures"][0]["size"] == [24, 24]
    assert data["groups"][0]["figures"][0]["shape"] == "(100, 300)"
    (figure,) = (group["figures"][0] for group in data["groups"] if group["kind"] == "activations")
    assert cells(figure["cells"][0]).tolist() == [255, 254, 0]
    assert data["curve"]["points"][0] is None


def test_frames_of_one_film_make_another() -> None:
    film = trained(4)
    short = viz.film(film.frames[::2], title="Half")
    assert repr(short) == "<Film: Half: 2 moments>"
    assert len(data_of(short)["moments"]) == 2
    assert '<html lang="zh"' in viz.film(film.frames, lang="zh").html


def test_a_moment_may_lack_what_another_has() -> None:
    film = viz.film()
    model = nn.Linear(2, 2)
    film.record(model, 1.0)
    model(Tensor([[1.0, 2.0]])).sum().backward()
    film.record(model, 1.0)
    gradients = data_of(film)["groups"][1]["figures"][0]
    assert gradients["cells"][0] is None
    assert gradients["cells"][1] is not None


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3, 1.0), {}, TypeError, "expected a Module, got int"),
        ((nn.Linear(1, 1), Tensor([1.0, 2.0])), {}, ValueError, r"one number, got shape \(2,\)"),
        ((nn.Linear(1, 1), 1.0), {"attention": {"a": [1.0]}}, ValueError, r"takes \(T, S\) or \(heads, T, S\)"),
        ((nn.Linear(1, 1), 1.0), {"boundary": (abs, [[1.0]], [0])}, ValueError, r"takes points \(N, 2\)"),
        ((nn.Linear(1, 1), 1.0), {"boundary": (abs, [[1.0, 2.0]], [0, 1])}, ValueError, r"and classes \(N,\)"),
        ((nn.Linear(1, 1), 1.0), {"boundary": (abs, np.zeros((0, 2)), [])}, ValueError, "at least one point"),
        ((nn.Linear(1, 1), 1.0), {"boundary": (abs, [[1.0, np.nan]], [0])}, ValueError, "must be finite"),
    ],
)
def test_what_cannot_be_recorded(arguments: tuple, options: dict, error: type[Exception], message: str) -> None:
    film = viz.film()
    with pytest.raises(error, match=message):
        film.record(*arguments, **options)
    assert film.frames == []


def test_an_empty_film_and_unknown_options() -> None:
    with pytest.raises(ValueError, match="nothing was recorded"):
        _ = viz.film().html
    with pytest.raises(ValueError, match="lang is one of"):
        viz.film(lang="fr")
    with pytest.raises(ValueError, match="theme is one of"):
        viz.film(theme="pink")


def test_infinities_are_recorded_without_a_warning() -> None:
    film = viz.film()
    film.record(nn.Linear(1, 1), 1.0, activations={"a": [np.inf, -np.inf] * 40})
    assert len(film.frames) == 1


@pytest.mark.parametrize("frames", [5, [1, 2], "frames", Tensor(1.0)])
def test_only_frames_make_a_film(frames: Any) -> None:
    with pytest.raises(TypeError, match="expected the frames of another film"):
        viz.film(frames)


def test_an_empty_film_in_a_notebook_is_a_line() -> None:
    assert viz.film()._repr_html_() == "<p>film: nothing was recorded; call film.record(model, loss) while training</p>"
