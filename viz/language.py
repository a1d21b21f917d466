"""Charts of a language model: who looks at whom, where tokens stand, what comes next, which tokens are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from viz.arguments import able, array, finite, got, listed, numbers
from viz.chart import Canvas, Chart
from viz.palette import FORMULA, NOTE, RULE
from viz.signs import clipped, ending, shown

_LABELLED = 16  # so many squares of attention have labels each


class Tokenizer(Protocol):
    """Text to token ids and back: ours, tiktoken's and Hugging Face's transformers' do."""

    def encode(self, text: str, /) -> Any:
        """Text -> token ids (N,)."""

    def decode(self, ids: Any, /) -> str:
        """Token ids (N,) -> text."""


class LooksAround(Protocol):
    """A model that shows its attention, as `models.Transformer` does."""

    def attention_maps(self, ids: np.ndarray, /) -> Sequence[np.ndarray]:
        """Ids (T,) -> for each layer the weights (H, T, T), row t those with which token t looks at the others."""


class GuessesNext(Protocol):
    """A model that says what comes next, as `models.Transformer` does."""

    def next_token_distribution(self, ids: np.ndarray, temperature: float, /, *, top: int) -> Sequence[Any]:
        """The likeliest next tokens, best first at temperature 1: each with its `.id`, and its probability `.after`."""


# Attention -----------------------------------------------------------------------------------------------------------


def attention(
    model: LooksAround,
    tokens: str | ArrayLike,
    *,
    tokenizer: Tokenizer | None = None,
    labels: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    title: str = "Who looks at whom",
    theme: str = "auto",
) -> Chart:
    """Heat maps of attention: a square for each head, a row of squares for each layer, with the tokens on the sides.

    model: anything with `attention_maps(ids)`. tokens: ids (T,), or a text with its tokenizer.
    labels: the T names of the tokens, instead of those that the tokenizer gives them; without either, their ids.
    layers: which of them are drawn, counted from 0; by default all. Of more than 16 squares, only those at the left and
    at the bottom have labels. Where no token looks at a later one, the cells of what is to come are grey.
    Raises ValueError for tokens that are no list of ids, layers that are not there, and maps that do not fit, and
    TypeError for a model without such maps.
    """
    able("attention", model, "attention_maps", "expected a model with attention_maps(ids), such as models.Transformer")
    ids, names = _tokens("attention", tokens, tokenizer, labels)
    T, maps = len(ids), _maps(model, ids, layers)
    heads, names = max(map(len, maps.values())), [clipped(name) for name in names]
    future = ~np.tri(T, dtype=bool)
    hidden = future & all(not each[:, future].any() for each in maps.values())
    side = max(1.9, 0.165 * T + 0.5)  # inches, so that every token has a readable label

    def draw(canvas: Canvas) -> None:
        grid = canvas.figure.subplots(len(maps), heads, squeeze=False)
        many, last = grid.size > _LABELLED, [*maps][-1]
        for row, (layer, weights) in zip(grid, maps.items()):
            for head, axes in enumerate(row[: len(weights)]):
                image = _attention_map(canvas, axes, np.ma.masked_where(hidden, weights[head]))
                axes.set_title(f"layer {layer}, head {head}", fontsize=RULE)
                left, bottom = not many or head == 0, not many or layer == last
                _name_tokens(axes, names if left else [], names if bottom else [], canvas.palette.ink)
            for axes in row[len(weights) :]:
                axes.set_axis_off()
        shrink = 0.9 / len(maps) + 0.1
        bar = canvas.scale(image, "share", grid.ravel().tolist(), shrink=shrink, aspect=25, pad=0.01)
        bar.set_label("share of the attention; each row adds up to 1")

    words = "row: the token that looks  ·  column: the token it looks at"
    words += "  ·  grey: still to come, hidden by the mask" * bool(hidden.any())
    return Chart(title, words, (max(7.0, side * heads + 0.9), (side + 0.25) * len(maps) + 0.75), draw, theme)


def _maps(model: LooksAround, ids: np.ndarray, layers: Sequence[int] | None) -> dict[int, np.ndarray]:
    """Layer -> its weights (H, T, T)."""
    found, T = model.attention_maps(ids), len(ids)
    chosen = list(range(len(found))) if layers is None else listed("attention: layers", layers)
    if not chosen or not all(layer in range(len(found)) for layer in chosen):
        raise ValueError(f"attention: expected layers from 0 to {len(found) - 1}, at least one, got {chosen}")
    maps = {layer: np.array(found[layer], dtype=np.float64) for layer in chosen}
    for layer, each in maps.items():
        if each.ndim != 3 or each.shape[1:] != (T, T) or not len(each):
            raise ValueError(f"attention: expected maps (heads, {T}, {T}), got {each.shape} of layer {layer}")
    return maps


def _attention_map(canvas: Canvas, axes: Any, cells: np.ndarray) -> Any:
    """One head: (T, T) cells from paper to blue."""
    T = len(cells)
    image = canvas.image(axes, cells, "share", vmin=0, vmax=1, extent=(0, T, T, 0))
    along, across = np.repeat(np.arange(1, T), 3), np.tile([0, T, np.nan], T - 1)
    for x, y in ((along, across), (across, along)):  # all lines of the grid as one line with gaps
        axes.plot(x, y, color=canvas.palette.paper, linewidth=0.6)
    axes.set(xlim=(0, T), ylim=(T, 0))
    for spine in axes.spines.values():
        spine.set(visible=True, color=canvas.palette.border, linewidth=0.6)
    return image


def _name_tokens(axes: Any, rows: Sequence[str], columns: Sequence[str], colour: str) -> None:
    """The tokens at the sides of a square: upright below it, unless each is a single sign."""
    longest = max(map(len, [*rows, *columns]), default=0)
    look: dict[str, Any] = {"fontsize": NOTE if longest <= 3 else 8, "color": colour}
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, **look)
    if longest > 1:
        look |= {"rotation": 90, "rotation_mode": "anchor", "ha": "right", "va": "center"}
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, **look)
    axes.tick_params(left=False, bottom=False, pad=3)


def _tokens(
    asked: str, tokens: str | ArrayLike, tokenizer: Tokenizer | None, labels: Sequence[str] | None = None
) -> tuple[np.ndarray, list[str]]:
    """Token ids (T,) and what they are called."""
    if isinstance(tokens, str) and tokenizer is None:
        raise ValueError(f"{asked}: a text needs its tokenizer=; without one, pass token ids")
    if tokenizer is not None:
        for method in ("encode", "decode"):
            able(f"{asked}: tokenizer", tokenizer, method, "expected encode(text) and decode(ids)")
    given = tokenizer.encode(tokens) if isinstance(tokens, str) and tokenizer is not None else tokens
    ids = array(f"{asked}: tokens", given)
    if ids.dtype == object:
        raise ValueError(f"{asked}: expected token ids (T,), got {got(given)}")
    if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
        raise ValueError(
            f"{asked}: expected token ids (T,), one text of at least one token, got {ids.dtype} {ids.shape}"
        )
    labels = listed(f"{asked}: labels", labels) if labels is not None else None
    if labels is not None and len(labels) != len(ids):
        raise ValueError(f"{asked}: expected {len(ids)} labels, one for each token, got {len(labels)}")
    if labels is None:
        labels = [str(i) if tokenizer is None else tokenizer.decode([i]) for i in ids.tolist()]
    return ids, [shown(str(label)) for label in labels]


# Positions -----------------------------------------------------------------------------------------------------------


def positions(table: ArrayLike, *, title: str = "Where a token stands", theme: str = "auto") -> Chart:
    """What is added to the embedding at each position, as a heat map, and some of its dimensions as curves.

    table: (T, E), such as `nn.SinusoidalPositionalEncoding(64, 64).table` or the weight of an `nn.Embedding`.
    Raises ValueError for another shape, and for NaN or infinity.

    >>> from tinygrad_edu import nn
    >>> positions(nn.SinusoidalPositionalEncoding(64, 64).table)
    <Chart of Where a token stands>
    """
    rows = numbers("positions: table", table)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"positions: expected a table (T, E), a row for each position, got shape {rows.shape}")
    T, E = finite("positions: table", rows).shape
    columns = sorted({0, *(round(E * share) // 2 * 2 for share in (0.125, 0.25, 0.5))})  # fast waves and slow ones
    largest = float(np.abs(rows).max()) or 1.0

    def draw(canvas: Canvas) -> None:
        left, right = canvas.figure.subplots(1, 2, gridspec_kw={"width_ratios": (1, 1.25)})
        look = {"vmin": -largest, "vmax": largest, "aspect": "auto", "extent": (-0.5, E - 0.5, T - 0.5, -0.5)}
        image = canvas.image(left, rows, "sign", **look)
        left.set(title="all of it", xlabel="dimension", ylabel="position")
        canvas.scale(image, "sign", [left], pad=0.02, aspect=30)
        for column, colour in zip(columns, canvas.palette.categories):
            right.plot(np.arange(T), rows[:, column], color=colour, linewidth=2, label=str(column))
        right.set(title="some dimensions, from position to position", xlabel="position")
        right.set(xlim=(0, max(1, T - 1)), ylim=(-1.08 * largest, 1.08 * largest))
        right.grid()
        right.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title="dimension")
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)

    return Chart(title, "each row is added to the embedding of the token that stands there", (11, 4.6), draw, theme)


# The next token ------------------------------------------------------------------------------------------------------


def next_tokens(
    model: GuessesNext,
    tokens: str | ArrayLike,
    *,
    tokenizer: Tokenizer | None = None,
    temperatures: Sequence[float] = (0.5, 1.0, 2.0),
    top: int = 8,
    title: str | None = None,
    theme: str = "auto",
) -> Chart:
    """Bars for the most likely next tokens, at several temperatures.

    model: anything with `next_token_distribution(ids, temperature, top=)`. tokens: ids (T,), or a text with its
    tokenizer. top: how many tokens are named; the others are one bar together.
    Raises ValueError for tokens that are no list of ids, and without a temperature, and TypeError for a model that
    does not say what comes next.
    """
    expected = "expected a model with next_token_distribution(ids, temperature, top=), such as models.Transformer"
    able("next_tokens", model, "next_token_distribution", expected)
    ids, names = _tokens("next_tokens", tokens, tokenizer)
    degrees = numbers("next_tokens: temperatures", temperatures)
    if degrees.ndim != 1 or not degrees.size:
        raise ValueError(f"next_tokens: expected at least one temperature, as in [1.0], got {got(temperatures)}")
    if not isinstance(top, (int, np.integer)) or top < 1:
        raise ValueError(f"next_tokens: top must be a whole number of at least 1, got {top!r}")
    guesses = [model.next_token_distribution(ids, temperature, top=top) for temperature in degrees.tolist()]
    best = [each.id for each in guesses[0]]
    bars = [str(i) if tokenizer is None else clipped(shown(tokenizer.decode([i])), 14) for i in best] + ["all others"]
    shares = np.array([[each.after for each in likely] for likely in guesses])  # (temperatures, top)
    percents = 100 * np.concatenate([shares, 1 - shares.sum(axis=1, keepdims=True)], axis=1).clip(0, 1)
    text = " ".join(names) if tokenizer is None else shown(tokenizer.decode(ids.tolist()), spaces=False)

    def draw(canvas: Canvas) -> None:
        grid = canvas.figure.subplots(1, len(percents), sharey=True, squeeze=False)[0]
        p, rows = canvas.palette, np.arange(len(bars))
        for axes, temperature, percent in zip(grid, degrees, percents):
            drawn = axes.barh(rows, percent, color=[p.value] * len(best) + [p.muted], height=0.72)
            axes.bar_label(drawn, [f"{share:.1f} %" for share in percent], padding=4, fontsize=NOTE, color=p.ink)
            axes.set_title(f"temperature {temperature:g}{_in_words(temperature)}")
            axes.set(xlim=(0, 1.3 * percents.max()), xlabel="probability in %")  # room for the numbers
            axes.tick_params(axis="y", length=0)
        grid[0].set_yticks(rows, bars, color=p.ink, fontsize=FORMULA)
        grid[0].invert_yaxis()

    heading = title if title is not None else f"What comes after “{ending(text)}”?"
    words = "a low temperature makes the likely likelier, a high one makes all more alike"
    return Chart(heading, words, (3.4 * len(percents) + 0.6, 1.75 + 0.34 * len(bars)), draw, theme)


def _in_words(temperature: float) -> str:
    if temperature == 1:
        return ": as learned"
    return ": surer" if temperature < 1 else ": bolder"


# Embeddings ----------------------------------------------------------------------------------------------------------


def embeddings(
    vectors: ArrayLike,
    labels: Sequence[str],
    *,
    title: str = "Which tokens are alike",
    theme: str = "auto",
) -> Chart:
    """The rows of an embedding in the plane in which they vary most (principal component analysis), with their labels.

    vectors: (N, E), such as `model.embed.weight`. labels: the N tokens. Where there is no room for all labels, the
    later ones are left out. Raises ValueError for shapes that do not fit, and for NaN or infinity.

    >>> embeddings([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.3]], ["cat", "dog", "blue"])
    <Chart of Which tokens are alike>
    """
    rows = numbers("embeddings: vectors", vectors)
    labels = [str(label) for label in listed("embeddings: labels", labels)]
    if rows.ndim != 2 or not rows.size or len(labels) != len(rows):
        raise ValueError(
            f"embeddings: expected vectors (N, E) and N labels, got shape {rows.shape} and {len(labels)} labels"
        )
    places, explained = principal_components(finite("embeddings: vectors", rows))
    names, kinds = [clipped(shown(label), 16) for label in labels], [_kind(label) for label in labels]

    def draw(canvas: Canvas) -> None:
        axes = canvas.figure.subplots()
        for line in (axes.axhline, axes.axvline):
            line(0, color=canvas.palette.muted, alpha=0.25, linewidth=1, zorder=0)
        for colour, kind in zip(canvas.palette.categories, dict.fromkeys(kinds)):
            members = [i for i, each in enumerate(kinds) if each == kind]
            axes.scatter(places[members, 0], places[members, 1], s=14, color=colour, linewidth=0, label=kind)
        first, second = 100 * explained
        axes.set(xlabel=f"first direction: {first:.0f} % of the variance")
        axes.set(ylabel=f"second direction: {second:.0f} %")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        axes.margins(0.06)
        colours = dict(zip(dict.fromkeys(kinds), canvas.palette.categories))
        _label(canvas.figure, axes, places, names, [colours[kind] for kind in kinds])

    words = "near each other, if the model uses them alike  ·  seen from where they spread most"
    return Chart(title, words, (9.5, 6.6), draw, theme)


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


def _kind(token: str) -> str:
    """What a token is made of, for its colour."""
    if token.isspace():
        return "white space"
    word = token.strip()
    if word.isdigit():
        return "number"
    if not word.isidentifier():
        return "sign"
    if word[0].isupper():
        return "capital"
    if len(word) > 1:
        return "word"
    return "vowel" if word in "aeiou" else "other letter"


def _label(figure: Any, axes: Any, places: np.ndarray, names: Sequence[str], colours: Sequence[str]) -> None:
    """A label at each place (N, 2), on the first side of it where it covers no dot and no earlier label, if any."""
    figure.draw_without_rendering()  # the places are final only after the figure has been laid out
    figure.set_layout_engine("none")
    dots = axes.transData.transform(places)  # (N, 2), in pixels
    reach, taken = 3 * figure.dpi / 72, np.empty((0, 4))
    for i, (name, colour) in enumerate(zip(names, colours)):
        label = axes.annotate(name, places[i], (0, 0), textcoords="offset points", color=colour, size=RULE)
        for x, y in ((4, 3), (-4, 3), (4, -3), (-4, -3)):
            label.set(position=(x, y), ha="left" if x > 0 else "right", va="bottom" if y > 0 else "top")
            left, bottom, right, top = label.get_window_extent().extents
            low, high = dots + reach, dots - reach
            on_dot = (left < low[:, 0]) & (high[:, 0] < right) & (bottom < low[:, 1]) & (high[:, 1] < top)
            on_label = (left < taken[:, 2]) & (taken[:, 0] < right) & (bottom < taken[:, 3]) & (taken[:, 1] < top)
            if not on_dot[np.arange(len(dots)) != i].any() and not on_label.any():
                taken = np.vstack([taken, (left, bottom, right, top)])
                break
        else:
            label.set_visible(False)
