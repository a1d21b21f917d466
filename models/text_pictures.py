"""Pictures of a language model: who looks at whom, where tokens stand, what comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_edu.functional as F
from models import graphs, pictures
from models.pictures import BLUE, INK, MUTED, ORANGE, PALETTE
from models.tokenizer import VISIBLE
from tinygrad_edu import Tensor, nn

MASKED = "#d5dae0"  # a cell that the causal mask hides
FAINT = "#9fb4c7"  # a line that is there to be compared with another
PURPLE_WHITE_GREEN = ("#762a83", "#f7f7f7", "#1b7837")  # a sign never looks like a value or a gradient
WHITE_BLUE = ("#ffffff", BLUE)
FONTS = [pictures.STYLE["font.family"], "Verdana"]  # of about the same width


# Attention -----------------------------------------------------------------------------------------------------------


def attention(path: Path, maps: Sequence[np.ndarray], tokens: Sequence[str]) -> None:
    """Heat maps of `model.attention_maps(ids)`, arrays (H, T, T) for each layer: one square for each head."""
    layers, heads, names = len(maps), max(map(len, maps)), [_clip(shown(token)) for token in tokens]
    side = max(2.0, 0.17 * len(tokens) + 0.5)  # inches, so that every token has a readable label

    def draw(figure: Any) -> None:
        grid = figure.subplots(layers, heads, squeeze=False)
        for layer, row in enumerate(grid):
            for head, axes in enumerate(row):
                if head < len(maps[layer]):
                    mesh = _attention_map(axes, maps[layer][head], names)
                    axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=11)
                else:
                    axes.set_axis_off()
        words = (
            "row: the token that looks  ·  column: the token it looks at  ·  grey: still to come, hidden by the mask"
        )
        figure.suptitle(f"Who looks at whom\n{words}", x=0.01, ha="left", fontsize=12)
        bar = figure.colorbar(mesh, ax=grid.ravel().tolist(), shrink=min(1.0, 0.9 / layers + 0.1), aspect=25, pad=0.01)
        bar.set_label("share of the attention; each row adds up to 1", size=10)
        bar.outline.set_visible(False)

    _save(path, (max(8.6, side * heads + 0.9), (side + 0.1) * layers + 0.9), draw)


def _attention_map(axes: Any, weights: np.ndarray, names: Sequence[str]) -> Any:
    """One head: (T, T) cells from white to blue, and grey where the key comes after the query."""
    T = len(names)
    colours = _colours(WHITE_BLUE).with_extremes(bad=MASKED)
    cells = np.ma.masked_where(~np.tri(T, dtype=bool), weights)
    mesh = axes.pcolormesh(cells, cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=0.4)
    axes.set(xlim=(0, T), ylim=(T, 0), aspect="equal")
    size = 9 if max(map(len, names)) <= 3 else 8
    axes.set_xticks(np.arange(T) + 0.5, names, rotation=0 if max(map(len, names)) == 1 else 90, fontsize=size)
    axes.set_yticks(np.arange(T) + 0.5, names, fontsize=size)
    axes.tick_params(length=0, pad=2, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return mesh


# Positions -----------------------------------------------------------------------------------------------------------


def positions(path: Path, table: np.ndarray, kind: str = "sinusoidal") -> None:
    """The rows (T, E) that are added to the embeddings, as a heat map; and some of its columns as curves."""
    T, E = table.shape
    columns = sorted({0, *(round(E * share) // 2 * 2 for share in (0.125, 0.25, 0.5))})  # fast waves and slow ones
    largest = float(np.abs(table).max()) or 1.0

    def draw(figure: Any) -> None:
        figure.suptitle(f"Where a token stands: the {kind} positions", x=0.01, ha="left", fontsize=13)
        left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1, 1.25)})
        extent = (-0.5, E - 0.5, T - 0.5, -0.5)
        look = {"cmap": _colours(PURPLE_WHITE_GREEN), "vmin": -largest, "vmax": largest, "interpolation": "none"}
        image = left.imshow(table, aspect="auto", extent=extent, **look)
        left.set(title="each row is added to the token there", xlabel="dimension", ylabel="position")
        figure.colorbar(image, ax=left, pad=0.02, aspect=30).outline.set_visible(False)
        for column, colour in zip(columns, PALETTE):
            right.plot(np.arange(T), table[:, column], color=colour, linewidth=2, label=str(column))
        right.set(title="some dimensions, from position to position", xlabel="position")
        right.set(xlim=(0, max(1, T - 1)), ylim=(-1.08 * largest, 1.08 * largest))
        right.grid(color=MUTED, alpha=0.2)
        right.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), title="dimension")
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)

    _save(path, (11, 4.6), draw)


# The next token ------------------------------------------------------------------------------------------------------


def next_token(
    path: Path, text: str, tokens: Sequence[str], probabilities: Mapping[float, np.ndarray], top: int = 8
) -> None:
    """Bars for the most likely tokens, at several temperatures: temperature -> probabilities (V,) of the V tokens."""
    best = np.argsort(-next(iter(probabilities.values())), kind="stable")[:top]
    others = len(tokens) - len(best)
    names = [_clip(shown(tokens[i]), 14) for i in best] + ([f"{others} others"] if others else [])
    percents = [100 * np.append(p[best], [1 - p[best].sum()] * bool(others)).clip(0, 1) for p in probabilities.values()]

    def draw(figure: Any) -> None:
        ending = _tail(shown(text, spaces=False))
        figure.suptitle(f"What comes after “{ending}” ?", x=0.01, ha="left", fontsize=13)
        grid = figure.subplots(1, len(probabilities), sharey=True, squeeze=False)[0]
        for axes, temperature, percent in zip(grid, probabilities, percents):
            bars = axes.barh(np.arange(len(percent)), percent, color=[BLUE] * len(best) + [MUTED], height=0.72)
            axes.bar_label(bars, [f"{share:.1f} %" for share in percent], padding=4, fontsize=10, color=INK)
            axes.set_title(f"temperature {temperature:g}{_in_words(temperature)}", fontsize=11)
            axes.set(xlim=(0, 1.3 * np.max(percents)), xlabel="probability in %")  # room for the numbers
            axes.tick_params(axis="y", length=0)
        grid[0].set_yticks(np.arange(len(names)), names, color=INK)
        grid[0].invert_yaxis()

    _save(path, (3.6 * len(probabilities), 1.5 + 0.34 * len(names)), draw)


def _in_words(temperature: float) -> str:
    if temperature == 1:
        return ": as learned"
    return ": surer" if temperature < 1 else ": bolder"


# Embeddings ----------------------------------------------------------------------------------------------------------


def embeddings(
    path: Path, vectors: np.ndarray, tokens: Sequence[str], title: str = "What the tokens mean to the model"
) -> None:
    """The rows of W_E (N, E) projected to the plane of their largest variance, with the tokens as labels.

    Where labels would overlap, the earlier token has it; the others are dots.
    """
    places, explained = principal_components(vectors)
    kinds = [kind_of(token) for token in tokens]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=MUTED, alpha=0.25, linewidth=1, zorder=0)
        axes.axvline(0, color=MUTED, alpha=0.25, linewidth=1, zorder=0)
        for colour, kind in zip(PALETTE, dict.fromkeys(kinds)):
            members = [i for i, each in enumerate(kinds) if each == kind]
            axes.scatter(*places[members].T, s=14, color=colour, label=kind)
            for i in members:
                axes.annotate(
                    _clip(shown(tokens[i]), 16), places[i], (3, 3), textcoords="offset points", color=colour, size=11
                )
        first, second = 100 * explained
        axes.set(title=f"{title}: near each other, if they are used alike")
        axes.set(xlabel=f"first direction: {first:.0f} % of the variance")
        axes.set(ylabel=f"second direction: {second:.0f} %")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        axes.margins(0.06)
        _drop_overlapping(figure, axes.texts)

    _save(path, (9.5, 6.4), draw)


def principal_components(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, E) -> (N, 2) along the two directions in which they vary most, and the shares of the variance (2,).

    Each direction points to where its largest entry is positive, so that equal points give equal pictures.
    """
    centred = np.asarray(vectors, dtype=np.float64) - np.mean(vectors, axis=0)  # (N, E)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)  # (K,), (K, E) with K = min(N, E)
    directions *= np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])[:, None]
    shares = spread**2 / (np.square(spread).sum() or 1.0)
    places, missing = centred @ directions[:2].T, max(0, 2 - len(spread))  # (N, E) @ (E, 2) -> (N, 2)
    return np.pad(places, ((0, 0), (0, missing))), np.pad(shares[:2], (0, missing))


def kind_of(token: str) -> str:
    """What a token is made of, for its colour.

    >>> kind_of("e"), kind_of("T"), kind_of("42"), kind_of("  ")
    ('vowel', 'capital', 'number', 'white space')
    """
    if token.isspace():
        return "white space"
    if token.isdigit():
        return "number"
    if not token.isidentifier():
        return "sign"
    if token[0].isupper():
        return "capital"
    if len(token) > 1:
        return "word"
    return "vowel" if token in "aeiou" else "other letter"


def _drop_overlapping(figure: Any, labels: Iterable[Any]) -> None:
    """Hide each label that lies on an earlier one. The places are final only after the figure has been laid out."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    taken: list[Any] = []
    for label in labels:
        box = label.get_window_extent()
        if any(box.overlaps(other) for other in taken):
            label.set_visible(False)
        else:
            taken.append(box)


# Learning ------------------------------------------------------------------------------------------------------------


def learning_curve(
    path: Path, train: Sequence[float], validation: Sequence[tuple[int, float]], vocabulary: int, unigram: float
) -> None:
    """The loss in nats per token: of each step, and of the validation text after some; beside two simple guesses.

    vocabulary: V; guessing evenly costs log V. unigram: the entropy of the frequencies of the tokens.
    """
    window = max(1, len(train) // 50)
    smooth = np.convolve(train, np.full(window, 1 / window), mode="valid")  # (N,) -> (N - window + 1,)

    def draw(figure: Any) -> None:
        axes, end = figure.subplots(), len(train)
        axes.plot(np.arange(1, end + 1), train, color=FAINT, linewidth=0.8, alpha=0.7)
        axes.plot(np.arange(len(smooth)) + (window + 1) / 2, smooth, color=BLUE, linewidth=2, label="training")
        if validation:
            axes.plot(*zip(*validation), color=ORANGE, linewidth=2, marker="o", markersize=5, label="validation")
            axes.set_title(f"Learning to read: {validation[-1][1]:.2f} nats per token at the end, on text never seen")
        for loss, words in (
            (
                np.log(vocabulary),
                f"guessing evenly among {vocabulary:,} tokens: ln {vocabulary:,} = {np.log(vocabulary):.2f}",
            ),
            (unigram, f"knowing only how frequent each token is: {unigram:.2f}"),
        ):
            axes.axhline(loss, color=MUTED, linestyle=(0, (5, 4)), linewidth=1.2)
            axes.annotate(words, (end, loss), (0, 4), textcoords="offset points", ha="right", color=MUTED, size=10)
        axes.set(xlabel="step", ylabel="loss in nats per token", xlim=(0, 1.01 * end))
        axes.set_ylim(0, 1.1 * max(np.log(vocabulary), unigram, *train))
        axes.grid(color=MUTED, alpha=0.2)
        axes.legend(frameon=False, loc="lower left")

    _save(path, (9, 4.2), draw)


# One block, backwards ------------------------------------------------------------------------------------------------


def block_backward(path: Path, block: nn.Module, x: np.ndarray) -> Path:
    """Draw the backward pass of one block for tokens (T, E), with a loss that wants all of its output to be 0."""
    import viz

    tokens = Tensor(x, requires_grad=True)
    output = block(tokens)  # (T, E) -> (T, E)
    loss = F.mse_loss(output, np.zeros_like(x))  # (T, E) -> ()
    loss.backward(retain_grads=True)
    names = {"block": block, "x": tokens, "output": output, "target": loss.inputs[1], "loss": loss}
    title = f"The backward pass of one transformer block, for {len(x)} tokens"
    return graphs.save(viz.draw(loss, names=names, title=title), path)


# Text in pictures ----------------------------------------------------------------------------------------------------


def shown(text: str, spaces: bool = True) -> str:
    r"""A text as it can be drawn: white space by visible signs, what no font shows by its number.

    >>> shown(" a\n"), shown("two words", spaces=False), shown("\x00")
    ('␣a↵', 'two words', 'U+0000')
    """
    return "".join(" " if character == " " and not spaces else _sign(character) for character in text)


def _sign(character: str) -> str:
    visible = character.translate(VISIBLE)
    return visible if visible.isprintable() and ord(visible) in _drawable() else f"U+{ord(character):04X}"


@cache
def _drawable() -> frozenset[int]:
    """The characters that the font of the pictures has; any other one makes matplotlib warn and draw a box."""
    try:
        from matplotlib import font_manager
    except ImportError:
        return frozenset(range(0x20, 0x10000))  # nothing will be drawn
    font = font_manager.get_font(font_manager.findfont(pictures.STYLE["font.family"]))
    return frozenset(font.get_charmap())


def _clip(text: str, longest: int = 10) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _tail(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else "…" + text[1 - longest :]


def _colours(ends: Sequence[str]) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("", list(ends))


def _save(path: Path, inches: tuple[float, float], draw: Callable[[Any], None]) -> None:
    """As all pictures; but their text stays text, to be found, copied and read aloud."""

    def with_text(figure: Any) -> None:
        from matplotlib import rcParams

        # Until this picture is saved. A browser without DejaVu Sans takes another font without serifs.
        rcParams.update({"svg.fonttype": "none", "font.family": ["sans-serif"], "font.sans-serif": FONTS})
        draw(figure)

    pictures.save(path, inches, with_text)
