"""The pictures of a language model show the numbers that they were given, whatever the tokens are."""

import sys
from functools import partial
from xml.etree import ElementTree

import numpy as np
import pytest

import viz
from models import text_pictures
from models.command import UserError
from models.transformer import Block, TransformerConfig
from tinygrad_edu import nn

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


def texts(path):
    """All texts in the picture, as a reader would find them."""
    return [text for each in ElementTree.parse(path).iter(f"{SVG}text") for text in ["".join(each.itertext())]]


def causal(*shape):
    """Attention weights (..., T, T), of which each row adds up to 1 and looks at nothing to come."""
    T = shape[-1]
    scores = np.where(np.tri(T, dtype=bool), np.random.default_rng(0).normal(size=shape), -np.inf)
    return np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)


def distribution(size):
    p = np.random.default_rng(0).random(size) ** 8
    return p / p.sum()


@pytest.fixture
def figure(monkeypatch):
    """What is drawn, as matplotlib's own figure; nothing is written."""
    from matplotlib.figure import Figure

    drawn = Figure(layout="constrained")
    monkeypatch.setattr(text_pictures, "_save", lambda path, inches, draw: draw(drawn))
    return drawn


# Attention


def test_attention_has_a_square_for_each_head_and_its_tokens_on_both_sides(tmp_path):
    path = tmp_path / "attention.svg"
    text_pictures.attention(path, [causal(3, 4, 4), causal(3, 4, 4)], ["a", " ", "\n", "b"])
    found = texts(path)
    titles = [text for text in found if text.startswith("layer")]
    assert titles == [f"layer {layer}, head {head}" for layer in (1, 2) for head in (1, 2, 3)]
    assert all(found.count(label) == 2 * 6 for label in ("a", "␣", "↵", "b"))
    words = " ".join(found)
    assert "row: the token that looks" in words
    assert "column: the token it looks at" in words


def test_attention_masks_what_is_to_come(tmp_path):
    path, T = tmp_path / "attention.svg", 5
    text_pictures.attention(path, [causal(2, T, T)], list("abcde"))
    assert path.read_text().count(f"fill: {text_pictures.MASKED}") == 2 * T * (T - 1) / 2


def test_attention_cells_are_the_weights(figure):
    weights = causal(2, 4, 4)
    text_pictures.attention(None, [weights], list("abcd"))
    for head, axes in enumerate(figure.axes[:2]):
        cells = axes.collections[0].get_array()
        np.testing.assert_array_equal(cells.mask, ~np.tri(4, dtype=bool))
        np.testing.assert_array_equal(cells.compressed(), weights[head][np.tri(4, dtype=bool)])
        assert axes.get_ylim() == (4, 0), "the first token is on top"
        assert axes.collections[0].get_clim() == (0, 1), "white is 0 and blue is 1 in every square"


def test_attention_of_layers_with_different_heads_and_of_one_token(tmp_path):
    text_pictures.attention(tmp_path / "a.svg", [causal(1, 1, 1), causal(2, 1, 1)], ["a"])
    assert [text for text in texts(tmp_path / "a.svg") if text.startswith("layer 1")] == ["layer 1, head 1"]


# Positions


@pytest.mark.parametrize("table", [nn.SinusoidalPositionalEncoding(20, 16).table, np.zeros((1, 1)), np.ones((3, 2))])
def test_positions_show_the_table_and_some_of_its_columns(figure, table):
    text_pictures.positions(None, table, "learned")
    assert "learned" in figure.get_suptitle()
    left, right, *_ = figure.axes
    np.testing.assert_array_equal(left.images[0].get_array(), table)
    assert len(right.lines) >= 1
    for line in right.lines:
        np.testing.assert_array_equal(line.get_ydata(), table[:, int(line.get_label())])


# The next token


def test_next_token_bars_are_the_probabilities(figure):
    p, q = distribution(20), np.full(20, 0.05)
    text_pictures.next_token(None, "so far", list("abcdefghijklmnopqrst"), {1.0: p, 2.0: q}, top=5)
    best = np.argsort(-p)[:5]
    for axes, probabilities in zip(figure.axes, (p, q)):
        widths = [bar.get_width() for bar in axes.patches]
        np.testing.assert_allclose(widths[:5], 100 * probabilities[best])
        assert sum(widths) == pytest.approx(100)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [*(chr(ord("a") + i) for i in best), "15 others"]


def test_next_token_in_words(tmp_path):
    path = tmp_path / "next.svg"
    text_pictures.next_token(path, "far " * 30 + "away\n", ["x", " "], {0.5: np.array([0.9, 0.1])})
    found = texts(path)
    assert {"x", "␣", "90.0 %", "10.0 %", "temperature 0.5: surer"} <= set(found)
    assert "others" not in " ".join(found)
    title = next(text for text in found if "What comes after" in text)
    assert "…" in title
    assert "far away↵" in title


# Embeddings


def test_principal_components_find_the_plane():
    random = np.random.default_rng(0)
    plane = np.linalg.qr(random.normal(size=(6, 2)))[0]  # (6, 2)
    truth = random.normal(size=(50, 2)) * [3, 1]
    places, shares = text_pictures.principal_components(truth @ plane.T + 7)
    assert shares.sum() == pytest.approx(1)
    variance = np.linalg.eigvalsh(np.cov(truth.T))[::-1]
    np.testing.assert_allclose(shares, variance / variance.sum())

    def distances(points):
        return np.linalg.norm(points[:, None] - points, axis=-1)

    np.testing.assert_allclose(distances(places), distances(truth), atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (3, 2)])
def test_principal_components_of_nearly_nothing(shape):
    places, shares = text_pictures.principal_components(np.ones(shape))
    np.testing.assert_array_equal(places, np.zeros((shape[0], 2)))
    np.testing.assert_array_equal(shares, [0, 0])


def test_embeddings_label_each_token_that_has_room(figure):
    vectors = np.array([[0.0, 0], [10, 0], [0, 5], [0, 5.001]])
    text_pictures.embeddings(None, vectors, ["a", "B", "c", "d"])
    axes = figure.axes[0]
    assert {text.get_text(): text.get_visible() for text in axes.texts} == {"a": True, "B": True, "c": True, "d": False}
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == 4
    assert "% of the variance" in axes.get_xlabel()


# Learning


def test_learning_curve_stands_beside_two_guesses(figure):
    losses = np.linspace(4.6, 2.0, 100)
    text_pictures.learning_curve(None, losses, [(50, 3.4), (100, 2.1)], vocabulary=103, unigram=3.26)
    axes = figure.axes[0]
    steps, train, validation, uniform, unigram = axes.lines
    np.testing.assert_array_equal(steps.get_ydata(), losses)
    np.testing.assert_allclose(train.get_ydata(), np.interp(train.get_xdata(), np.arange(1, 101), losses))
    assert list(zip(validation.get_xdata(), validation.get_ydata())) == [(50, 3.4), (100, 2.1)]
    assert uniform.get_ydata()[0] == pytest.approx(np.log(103))
    assert unigram.get_ydata()[0] == 3.26
    words = " ".join(text.get_text() for text in axes.texts)
    assert "ln 103 = 4.63" in words
    assert "how frequent each token is: 3.26" in words
    assert axes.get_title().startswith("Learning to read: 2.10")


def test_learning_curve_after_one_step(tmp_path):
    text_pictures.learning_curve(tmp_path / "curve.svg", [4.6], [], vocabulary=1, unigram=0.0)
    assert "training" in texts(tmp_path / "curve.svg")


# One block


def small_block():
    config = TransformerConfig(vocab_size=1, context_length=4, embed_dim=8, num_heads=2, num_layers=1, bias=False)
    return Block(config), np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)


def test_block_has_a_box_for_each_module_and_gradients(tmp_path):
    path = text_pictures.block_backward(tmp_path / "block.dot", *small_block())
    source = path.read_text(encoding="utf-8")
    for name in ("block.attention", "block.attention.query", "block.mlp", "block.mlp.down", "block.attention_norm"):
        assert name in source
    assert source.count("subgraph") >= 8
    assert "not run" not in source


def test_block_without_a_layout_engine(tmp_path, monkeypatch, capsys):
    def missing(*anything):
        raise viz.MissingEngineError("no layout engine")

    monkeypatch.setattr("viz.drawing.render", missing)
    assert text_pictures.block_backward(tmp_path / "block.svg", *small_block()) == tmp_path / "block.dot"
    assert "writing the DOT source instead" in capsys.readouterr().err


# Any token, any text

PICTURES = {
    "attention": lambda path: text_pictures.attention(path, [causal(1, len(ODD), len(ODD))], ODD),
    "next token": lambda path: text_pictures.next_token(path, "".join(ODD), ODD, {1.0: distribution(len(ODD))}, top=99),
    "embeddings": lambda path: text_pictures.embeddings(path, np.random.default_rng(0).normal(size=(len(ODD), 4)), ODD),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("form", ["svg", "png"])
def test_odd_tokens_are_drawn_without_a_warning(name, form, tmp_path):
    path = tmp_path / f"picture.{form}"
    PICTURES[name](path)
    if form == "svg":
        assert not list(ElementTree.parse(path).iter(f"{SVG}script"))
        assert "<script" not in path.read_text(encoding="utf-8")
        drawn = {text_pictures.shown(token) for token in ODD}
        assert {"U+0000", "U+202E", "U+D800", "U+1F99C", "U+4E2D", "שלום", "&amp;", "$x$"} <= drawn
        assert name == "embeddings" or {token for token in drawn if len(token) < 10} <= set(texts(path))


@pytest.mark.parametrize("name", PICTURES)
def test_equal_pictures_are_equal_bytes(name, tmp_path):
    for file in ("a.svg", "b.svg"):
        PICTURES[name](tmp_path / file)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_without_matplotlib_one_line_says_what_to_install(tmp_path, monkeypatch):
    for module in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text_pictures._drawable.cache_clear()
    try:
        for draw in (*PICTURES.values(), partial(text_pictures.positions, table=np.ones((2, 2)))):
            with pytest.raises(UserError, match="matplotlib is not installed"):
                draw(tmp_path / "picture.svg")
    finally:
        text_pictures._drawable.cache_clear()
    assert not list(tmp_path.iterdir())
