"""Charts show the numbers that they were given, whatever their names: seen on matplotlib's figure and in the SVG."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_edu as te
import viz
from models import Transformer, TransformerConfig
from models.tokenizer import CharTokenizer
from tinygrad_edu import Tensor, nn
from viz import signs
from viz.language import principal_components
from viz.palette import DARK, LIGHT

pytest.importorskip("matplotlib")

SVG = "{http://www.w3.org/2000/svg}"
ODD = [
    "<script>alert(1)</script>",
    "&amp;",
    "]]>",
    "--",
    "$x$",
    '"',
    "\x00",
    "\x1b",
    "\u202e",
    "\ud800",
    "🦜",
    "שלום",
    "中",
]


def texts(svg: str) -> list[str]:
    """All texts in a picture, as a reader would find them."""
    return ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def causal(*shape: int) -> np.ndarray:
    """Attention weights (..., T, T), of which each row adds up to 1 and looks at nothing to come."""
    T = shape[-1]
    scores = np.where(np.tri(T, dtype=bool), np.random.default_rng(0).normal(size=shape), -np.inf)
    return np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)


class Maps:
    """Looks around as it was told to."""

    def __init__(self, *maps: np.ndarray) -> None:
        self.maps = maps

    def attention_maps(self, ids: np.ndarray) -> tuple[np.ndarray, ...]:
        return self.maps


@pytest.fixture(scope="module")
def tokenizer() -> CharTokenizer:
    return CharTokenizer.of("the value of $<>&")


@pytest.fixture(scope="module")
def model(tokenizer: CharTokenizer) -> Transformer:
    te.manual_seed(0)
    config = TransformerConfig(
        vocab_size=tokenizer.vocab_size, context_length=16, embed_dim=8, num_heads=2, num_layers=2, dropout=0.5
    )
    return Transformer(config)


# Attention


def test_attention_of_a_text_has_a_square_for_each_head_and_its_tokens_on_both_sides(
    model: Transformer, tokenizer: CharTokenizer
) -> None:
    chart = viz.attention(model, "of the", tokenizer=tokenizer)
    found = texts(chart.svg)
    squares = [text for text in found if text.startswith("layer")]
    assert squares == [f"layer {layer}, head {head}" for layer in (0, 1) for head in (0, 1)]
    assert all(found.count(label) == 2 * 4 for label in "ofth␣")
    assert "row: the token that looks  ·  column: the token it looks at  ·  grey: still to come" in " ".join(found)
    ids = tokenizer.encode("of the")
    maps = np.concatenate(model.attention_maps(ids))
    for weights, axes in zip(maps, chart.figure.axes):
        cells = axes.images[0].get_array()
        np.testing.assert_array_equal(cells.mask, ~np.tri(6, dtype=bool))
        np.testing.assert_allclose(cells.compressed(), weights[np.tri(6, dtype=bool)])
        assert axes.get_ylim() == (6, 0), "the first token is on top"
        assert axes.images[0].get_clim() == (0, 1), "paper is 0 and blue is 1 in every square"


def test_attention_that_looks_ahead_has_no_grey_cells() -> None:
    chart = viz.attention(Maps(np.full((1, 3, 3), 1 / 3)), [7, 8, 9])
    assert not chart.figure.axes[0].images[0].get_array().mask.any()
    assert "grey" not in chart.subtitle
    assert {"7", "8", "9"} <= set(texts(chart.svg))


def test_attention_of_layers_with_different_heads_and_of_one_token() -> None:
    chart = viz.attention(Maps(causal(1, 1, 1), causal(2, 1, 1)), [0], labels=["a"])
    assert [text for text in texts(chart.svg) if text.startswith("layer 0")] == ["layer 0, head 0"]


def test_attention_of_many_heads_is_labelled_at_the_sides_and_of_some_layers() -> None:
    model = Maps(*[causal(6, 2, 2)] * 3)
    found = texts(viz.attention(model, [0, 1], labels=["one", "two"]).svg)
    assert found.count("one") == 3 + 6
    squares = [text for text in texts(viz.attention(model, [0, 1], layers=[2]).svg) if text.startswith("layer")]
    assert squares == [f"layer 2, head {head}" for head in range(6)]
    with pytest.raises(ValueError, match=r"expected layers from 0 to 2, at least one, got \[3\]"):
        viz.attention(model, [0, 1], layers=[3])


@pytest.mark.parametrize(
    ("maps", "tokens", "labels", "words"),
    [
        ([causal(1, 2, 2)], "ab", None, "a text needs its tokenizer="),
        ([causal(1, 2, 2)], [[0, 1]], None, r"expected token ids \(T,\).* \(1, 2\)"),
        ([causal(1, 2, 2)], [], None, r"expected token ids \(T,\).* \(0,\)"),
        ([causal(1, 2, 2)], [0.5, 1.0], None, r"expected token ids \(T,\).* float64"),
        ([causal(1, 2, 2)], [0, 1], ["a"], "expected 2 labels, one for each token, got 1"),
        ([causal(1, 3, 3)], [0, 1], None, r"expected maps \(heads, 2, 2\), got \(1, 3, 3\) of layer 0"),
        ([], [0, 1], None, r"at least one, got \[\]"),
    ],
)
def test_attention_of_what_does_not_fit(maps: list[np.ndarray], tokens: Any, labels: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"attention: .*{words}"):
        viz.attention(Maps(*maps), tokens, labels=labels)


# Positions


@pytest.mark.parametrize("table", [nn.SinusoidalPositionalEncoding(20, 16).table, np.zeros((1, 1)), np.ones((3, 2))])
def test_positions_show_the_table_and_some_of_its_columns(table: Any) -> None:
    table = np.asarray(table)
    left, right, *_ = viz.positions(table).figure.axes
    np.testing.assert_array_equal(left.images[0].get_array(), table)
    assert len(right.lines) >= 1
    for line in right.lines:
        np.testing.assert_array_equal(line.get_ydata(), table[:, int(line.get_label())])


def test_positions_take_a_parameter_and_no_vector() -> None:
    weight = nn.Embedding(4, 6).weight
    np.testing.assert_allclose(viz.positions(weight).figure.axes[0].images[0].get_array(), weight.data)
    with pytest.raises(ValueError, match=r"positions: expected a table \(T, E\).* \(3,\)"):
        viz.positions(np.ones(3))


# The next token


def test_next_token_bars_are_the_probabilities(model: Transformer, tokenizer: CharTokenizer) -> None:
    chart = viz.next_tokens(model, "the ", tokenizer=tokenizer, temperatures=(1.0, 0.1), top=5)
    ids = tokenizer.encode("the ")
    model.eval()
    logits = model(ids).data[-1].astype(np.float64)
    model.train()
    for axes, temperature in zip(chart.figure.axes, (1.0, 0.1)):
        p = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        widths = [bar.get_width() for bar in axes.patches]
        np.testing.assert_allclose(widths[:5], 100 * p[np.argsort(-logits)[:5]], rtol=1e-4)
        assert sum(widths) == pytest.approx(100)
    found = texts(chart.svg)
    assert {"What comes after “the ”?", "temperature 1: as learned", "temperature 0.1: surer", "all others"} <= {*found}


def test_next_tokens_without_a_tokenizer_and_of_a_long_text(model: Transformer, tokenizer: CharTokenizer) -> None:
    assert viz.next_tokens(model, [1, 2]).title == "What comes after “1 2”?"
    title = viz.next_tokens(model, "the value of " * 9, tokenizer=tokenizer, temperatures=[2.0]).title
    assert title.startswith("What comes after “…")
    assert title.endswith("the value of ”?")
    with pytest.raises(ValueError, match="at least one temperature"):
        viz.next_tokens(model, [1], temperatures=())


# Embeddings


def test_principal_components_find_the_plane() -> None:
    random = np.random.default_rng(0)
    plane = np.linalg.qr(random.normal(size=(6, 2)))[0]  # (6, 2)
    truth = random.normal(size=(50, 2)) * [3, 1]
    places, shares = principal_components(truth @ plane.T + 7)
    assert shares.sum() == pytest.approx(1)
    variance = np.linalg.eigvalsh(np.cov(truth.T))[::-1]
    np.testing.assert_allclose(shares, variance / variance.sum())

    def distances(points: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.norm(points[:, None] - points, axis=-1))

    np.testing.assert_allclose(distances(places), distances(truth), atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (3, 2)])
def test_principal_components_of_nearly_nothing(shape: tuple[int, int]) -> None:
    places, shares = principal_components(np.ones(shape))
    np.testing.assert_array_equal(places, np.zeros((shape[0], 2)))
    np.testing.assert_array_equal(shares, [0, 0])


def test_embeddings_label_each_token_that_has_room() -> None:
    vectors = np.array([[10.0, 0], [-10, 0], *[[0, 5.0]] * 6])
    axes = viz.embeddings(vectors, ["a", "B", *"cdfghj"]).figure.axes[0]
    shown = {text.get_text(): text.get_window_extent() for text in axes.texts if text.get_visible()}
    assert [*shown] == ["a", "B", "c", "d", "f", "g"], "four sides of a dot have room for four labels"
    assert not any(one.overlaps(other) for one in shown.values() for other in shown.values() if one is not other)
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == 8
    assert [text.get_text() for text in axes.get_legend().texts] == ["vowel", "capital", "other letter"]
    assert "% of the variance" in axes.get_xlabel()
    with pytest.raises(ValueError, match=r"N labels, got shape \(8, 2\) and 1 labels"):
        viz.embeddings(vectors, ["a"])


# Learning


def test_loss_curves_are_the_losses_beside_what_they_are_compared_with() -> None:
    losses = np.linspace(4.6, 2.0, 1000)
    given = {"training": losses, "validation": [(500, 3.4), (1000, 2.1)], "nothing yet": []}
    chart = viz.loss_curves(given, references={"evenly": np.log(103)}, unit="nats")
    (axes,) = chart.figure.axes
    steps, mean, validation, line = axes.lines
    np.testing.assert_array_equal(steps.get_ydata(), losses)
    np.testing.assert_allclose(mean.get_ydata(), np.interp(mean.get_xdata(), np.arange(1, 1001), losses))
    assert list(zip(validation.get_xdata(), validation.get_ydata())) == [(500, 3.4), (1000, 2.1)]
    assert line.get_ydata()[0] == pytest.approx(np.log(103))
    found = texts(chart.svg)
    assert {"validation: 2.10 at the end", "evenly: 4.63", "loss in nats"} <= set(found)
    assert not [text for text in found if "nothing" in text]


def test_loss_curves_with_accuracies_keep_the_colour_of_a_name() -> None:
    chart = viz.loss_curves({"training": [2.0, 1.0], "test": [2.0, 1.5]}, accuracies={"test": [0.5, 0.9]}, step="epoch")
    left, right = chart.figure.axes
    assert right.lines[0].get_color() == left.lines[1].get_color() != left.lines[0].get_color()
    np.testing.assert_allclose(right.lines[0].get_ydata(), [50, 90])
    assert "test: 90.0 % at the end" in texts(chart.svg)


@pytest.mark.parametrize("losses", [[1.0], [np.nan, np.inf], [-1.0, -2.0], [0.0, 0.0]])
def test_loss_curves_of_odd_values_are_drawn(losses: list[float]) -> None:
    assert "training" in " ".join(texts(viz.loss_curves({"training": losses}).svg))


@pytest.mark.parametrize(
    ("losses", "error", "words"),
    [
        ({}, ValueError, "no loss to draw"),
        ({"a": []}, ValueError, "no loss to draw"),
        ({"a": np.ones((2, 3))}, ValueError, r"losses\['a'\]: expected values \(N,\) or pairs \(N, 2\), got \(2, 3\)"),
        ([1.0, 0.5], TypeError, "losses is a dict from names to values, got list"),
    ],
)
def test_loss_curves_of_what_does_not_fit(losses: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        viz.loss_curves(losses)


def halves(x: Tensor) -> Tensor:
    """Logits of two classes: left of 0.5, and right of it."""
    return te.stack([0.5 - x[:, 0], x[:, 0] - 0.5], axis=1)  # (N, 2) -> (N, 2)


def test_the_decision_boundary_is_where_the_classes_are_equally_likely() -> None:
    X, y = np.array([[0.0, 0.0], [1.0, 1.0], [0.9, 0.0]]), np.array([0, 1, 1])
    axes = viz.decision_boundary(halves, X, y, classes=("left", "right")).figure.axes[0]
    contour, left, right = axes.collections
    np.testing.assert_allclose(contour.get_paths()[0].vertices[:, 0], 0.5, atol=1e-6)
    np.testing.assert_array_equal(left.get_offsets(), X[:1])
    np.testing.assert_array_equal(right.get_offsets(), X[1:])
    assert [text.get_text() for text in axes.get_legend().texts] == ["class left", "class right"]
    cells = axes.images[0].get_array()  # (side, side, 4)
    assert cells[0, 0, 2] > cells[0, -1, 2], "bluer on the left"
    assert cells[0, 0, 0] < cells[0, -1, 0], "more orange on the right"


def test_a_decision_boundary_among_many_classes() -> None:
    C = 20
    X = np.random.default_rng(0).normal(size=(40, 2))
    chart = viz.decision_boundary(lambda x: np.arange(C) * x.data[:, :1], X, np.arange(40) % C)
    assert chart.figure.axes[0].get_legend() is None
    assert chart.svg


@pytest.mark.parametrize(
    ("model", "X", "y", "classes", "words"),
    [
        (
            halves,
            np.ones((2, 3)),
            [0, 1],
            None,
            r"expected points \(N, 2\) and classes \(N,\), got \(2, 3\) and \(2,\)",
        ),
        (halves, np.ones((2, 2)), [0], None, r"got \(2, 2\) and \(1,\)"),
        (halves, np.ones((2, 2)), [0, 2], None, "the model knows 2 classes.*from 0 to 2"),
        (halves, np.ones((2, 2)), [0.0, 1.0], None, "float64"),
        (halves, np.ones((2, 2)), [0, 1], ["a"], "as many names, got 1"),
        (
            lambda x: x[:, :1],
            np.ones((2, 2)),
            [0, 1],
            None,
            r"expected logits \(40000, C\), C > 1, .* got \(40000, 1\)",
        ),
    ],
)
def test_a_decision_boundary_of_what_does_not_fit(model: Any, X: Any, y: Any, classes: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        viz.decision_boundary(model, X, y, classes=classes)


def test_predictions_frame_what_is_wrong() -> None:
    images = np.random.default_rng(0).random((25, 4, 4))
    chart = viz.predictions(images, ["2"] * 25, ["2"] * 22 + ["7"] * 3)
    assert chart.title == "25 images: 22 right, 3 wrong"
    found = texts(chart.svg)
    assert (found.count("2"), found.count("7, is 2")) == (20, 3)
    drawn = [axes for axes in chart.figure.axes if axes.images]
    np.testing.assert_array_equal(drawn[20].images[0].get_array(), images[22])
    with pytest.raises(ValueError, match=r"predictions: expected images .* got \(25, 4, 4\), 1 and 25"):
        viz.predictions(images, ["2"], ["2"] * 25)


# What is refused

charts: Any = viz  # odd arguments are meant here
NAN = np.array([[0.0, 1.0], [np.nan, 1.0], [np.inf, 2.0]])
SQUARE, CORNERS = np.ones((2, 2)), [[0.0, 0.0], [1.0, 1.0]]
LOOKS = "expected a model with attention_maps"
GUESSES = "expected a model with next_token_distribution"


class Guesses:
    def next_token_distribution(self, ids: Any, temperature: float, top: int) -> Any:
        raise AssertionError("not reached")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: charts.attention(nn.Linear(2, 2), [0]), TypeError, f"attention: {LOOKS}.*got Linear"),
        (lambda: charts.attention(5, [0]), TypeError, f"attention: {LOOKS}.*got int 5"),
        (lambda: charts.attention(Maps, [0]), TypeError, r"the class Maps: make one first, as in Maps\("),
        (lambda: charts.attention(Maps(SQUARE[None]), None), ValueError, "attention: expected token ids.*got NoneType"),
        (lambda: charts.attention(Maps(), [[0], [0, 1]]), ValueError, "attention: tokens: expected rows of one length"),
        (
            lambda: charts.attention(Maps(), "a", tokenizer=3),
            TypeError,
            r"tokenizer: expected encode\(text\).*got int 3",
        ),
        (
            lambda: charts.attention(Maps(SQUARE[None]), [0, 1], layers=0),
            TypeError,
            "layers: expected a list, got int 0",
        ),
        (lambda: charts.attention(Maps(SQUARE[None]), [0, 1], layers=["a"]), ValueError, "layers from 0 to 0"),
        (lambda: charts.attention(Maps(), [0], labels=3), TypeError, "attention: labels: expected a list, got int 3"),
        (lambda: charts.next_tokens(nn.Linear(2, 2), [0]), TypeError, f"next_tokens: {GUESSES}.*got Linear"),
        (lambda: charts.next_tokens([0], Guesses()), TypeError, rf"next_tokens: {GUESSES}.*got list \[0\]"),
        (lambda: charts.next_tokens(Guesses(), [0], temperatures=1.0), ValueError, r"temperature.* got float 1\.0"),
        (
            lambda: charts.next_tokens(Guesses(), [0], temperatures=["a"]),
            TypeError,
            "temperatures: expected real numbers",
        ),
        (
            lambda: charts.next_tokens(Guesses(), [0], top=0),
            ValueError,
            "top must be a whole number of at least 1, got 0",
        ),
        (
            lambda: charts.embeddings(NAN, "abc"),
            ValueError,
            r"vectors: 2 of 6 numbers are NaN.*first at \[1, 0\]: leave",
        ),
        (lambda: charts.embeddings("x", ["a"]), TypeError, "embeddings: vectors: expected real numbers, got str 'x'"),
        (
            lambda: charts.embeddings(nn.Embedding(3, 4), "abc"),
            TypeError,
            "vectors: expected real numbers, got Embedding",
        ),
        (lambda: charts.embeddings(SQUARE, 5), TypeError, "embeddings: labels: expected a list, got int 5"),
        (lambda: charts.positions(NAN), ValueError, r"positions: table: 2 of 6 numbers are NaN or inf.*te\.detect_an"),
        (lambda: charts.positions(None), TypeError, "positions: table: expected real numbers, got NoneType"),
        (lambda: charts.positions([[1], [1, 2]]), ValueError, "positions: table: expected rows of one length"),
        (
            lambda: charts.predictions(np.ones((0, 8, 8)), [], []),
            ValueError,
            r"there is no image to draw: .*\(0, 8, 8\)",
        ),
        (lambda: charts.predictions(np.ones((1, 0, 8)), "a", "b"), ValueError, "there is no image to draw"),
        (lambda: charts.predictions(np.ones((1, 2, 2)), 5, "b"), TypeError, "truth: expected a list, got int 5"),
        (lambda: charts.predictions("x", "a", "b"), TypeError, "predictions: images: expected real numbers"),
        (
            lambda: charts.decision_boundary(5, CORNERS, [0, 1]),
            TypeError,
            r"expected a module or a function.*got int 5",
        ),
        (lambda: charts.decision_boundary(nn.Linear, CORNERS, [0, 1]), TypeError, "the class Linear: make one first"),
        (
            lambda: charts.decision_boundary(lambda x: None, CORNERS, [0, 1]),
            TypeError,
            "logits of the model: .*NoneType",
        ),
        (
            lambda: charts.decision_boundary(lambda x: x * np.nan, CORNERS, [0, 1]),
            ValueError,
            "logits of the model: 8000",
        ),
        (lambda: charts.decision_boundary(halves, NAN, [0, 1, 1]), ValueError, r"X: 2 of 6 numbers are NaN"),
        (
            lambda: charts.decision_boundary(halves, CORNERS, ["a", "b"]),
            ValueError,
            r"y: expected integers.*classes=\[",
        ),
        (lambda: charts.decision_boundary(halves, CORNERS, [0, 1], classes=5), TypeError, "classes: expected a list"),
        (lambda: charts.loss_curves(None), TypeError, "losses is a dict.*got NoneType None"),
        (lambda: charts.loss_curves({"a": "x"}), TypeError, r"losses\['a'\]: expected real numbers, got str 'x'"),
        (lambda: charts.loss_curves({"a": [[1], [1, 2]]}), ValueError, r"losses\['a'\]: expected rows of one length"),
        (lambda: charts.loss_curves({"a": [(np.nan, 1.0)]}), ValueError, r"steps of losses\['a'\]: 1 of 1 numbers"),
        (lambda: charts.loss_curves({"a": [1]}, accuracies=[1]), TypeError, "accuracies is a dict.*got list"),
        (lambda: charts.loss_curves({"a": [1]}, references=[1]), TypeError, "references is a dict.*chance.*got list"),
        (lambda: charts.loss_curves({"a": [1]}, references={"b": "c"}), TypeError, r"references\['b'\]: expected real"),
        (lambda: charts.loss_curves({"a": [1]}, references={"b": np.inf}), ValueError, r"references\['b'\]: 1 of 1"),
        (lambda: charts.loss_curves({"a": [1]}, title=3), TypeError, "title is a text, got int 3"),
    ],
)
def test_odd_arguments_are_told_what_was_expected(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_names_may_be_numbers() -> None:
    assert {"7", "8"} <= set(texts(charts.embeddings(np.eye(3), [7, 8, 9]).svg))
    assert {"7", "8"} <= set(texts(charts.attention(Maps(SQUARE[None] / 2), [0, 1], labels=[7, 8]).svg))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_losses_of_a_training_that_went_wrong_are_drawn(wrong: float) -> None:
    for values in ([1.0, wrong, 2.0], [wrong, wrong], [(0, wrong)]):
        chart = viz.loss_curves({"a": values}, accuracies={"a": [wrong] * 2})
        assert [axes.get_title("left") for axes in chart.figure.axes] == ["loss", "accuracy in %"]


def test_a_class_that_a_model_rules_out_is_drawn() -> None:
    def never(x: Tensor) -> Tensor:
        return te.concatenate([halves(x), Tensor(np.full((len(x), 1), -np.inf, np.float32))], axis=1)

    assert "class 1" in texts(viz.decision_boundary(never, CORNERS, [0, 1]).svg)


# All of them

PICTURES: dict[str, Callable[[str], viz.Chart]] = {
    "attention": lambda theme: viz.attention(
        Maps(causal(1, len(ODD), len(ODD))), range(len(ODD)), labels=ODD, theme=theme
    ),
    "embeddings": lambda theme: viz.embeddings(np.random.default_rng(0).normal(size=(len(ODD), 4)), ODD, theme=theme),
    "loss curves": lambda theme: viz.loss_curves({name: [1, 2] for name in ODD}, title="".join(ODD), theme=theme),
    "decision boundary": lambda theme: viz.decision_boundary(halves, np.eye(2), [0, 1], classes=ODD[3:5], theme=theme),
    "predictions": lambda theme: viz.predictions(np.ones((13, 2, 2)), ODD, ODD[::-1], theme=theme),
    "positions": lambda theme: viz.positions(np.eye(3), title="".join(ODD), theme=theme),
}


@pytest.mark.parametrize("name", PICTURES)
def test_any_name_is_drawn_without_a_warning_and_equal_charts_are_equal_bytes(name: str) -> None:
    chart = PICTURES[name]("auto")
    assert not list(ElementTree.fromstring(chart.svg).iter(f"{SVG}script"))
    assert "<script" not in chart.svg
    assert chart.svg == PICTURES[name]("auto").svg
    if name == "attention":
        drawn = {signs.shown(token) for token in ODD}
        assert {"U+0000", "U+202E", "U+D800", "U+1F99C", "U+4E2D", "שלום", "&amp;", "$x$"} <= drawn
        assert {token for token in drawn if len(token) < 10} <= set(texts(chart.svg))


@pytest.mark.parametrize("name", PICTURES)
def test_a_chart_is_one_labelled_image_light_and_dark(name: str) -> None:
    light, dark, auto = (PICTURES[name](theme).svg for theme in ("light", "dark", "auto"))
    assert f"fill: {LIGHT.paper}" in light
    assert f"fill: {DARK.paper}" in dark
    assert "@media" not in light + dark
    image = ElementTree.fromstring(auto)
    title = image.find(f"{SVG}title")
    assert title is not None
    assert (image.get("role"), image.get("aria-label")) == ("img", title.text)
    sheet = auto[auto.index("@media (prefers-color-scheme: dark)") : auto.index("</style>")]
    colours = set(re.findall(r"(?:fill|stroke): (#\w+)", auto.replace(sheet, "")))
    assert colours <= set(re.findall(r'"(?:fill|stroke): (#\w+)"', sheet)), "each colour has one for the dark"
    images = len(re.findall("<image ", auto))
    assert auto.count('id="light-') == auto.count('id="dark-') == images / 2
    assert bool(images) == (name not in ("embeddings", "loss curves"))


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<svg"), (".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_save(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = viz.loss_curves({"🍐": [2, 1]}).save(tmp_path / f"curve{suffix}")
    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_cannot_be_saved_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "curve.png"
    path.write_text("old")
    chart = viz.loss_curves({"training": [2, 1]})
    with pytest.raises(ValueError, match=r"must end in one of \.svg, \.png, \.pdf"):
        chart.save(tmp_path / "curve.dot")
    monkeypatch.setattr(chart, "_draw", lambda canvas: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        chart.save(path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["curve.png"]


def test_an_unknown_theme_is_an_error() -> None:
    with pytest.raises(ValueError, match="theme is one of 'auto', 'light', 'dark', got 'blue'"):
        viz.positions(np.eye(2), theme="blue")


@pytest.mark.parametrize("name", PICTURES)
def test_without_matplotlib_one_line_says_what_to_install(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    signs._drawable.cache_clear()
    try:
        chart = PICTURES[name]("auto")
        with pytest.raises(viz.MissingEngineError, match=r'matplotlib: pip install "tinygrad_edu\[viz\]"$'):
            chart.save(tmp_path / "picture.svg")
        assert "pip install" in chart._repr_mimebundle_()["text/plain"]
    finally:
        signs._drawable.cache_clear()
    assert not list(tmp_path.iterdir())
