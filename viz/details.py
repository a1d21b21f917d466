"""What the page's panel tells: of each card its rules and statistics, of a step of gradient descent its moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from viz import text
from viz.captions import words
from viz.folded import label, ratio
from viz.frames import frames, run, written_rule
from viz.parts import Card, Fold, View
from viz.replay import Descent, trainable, updated
from viz.wording import say, translate

_SHOWN_MOVES = 12  # parameters in the table of a gradient-descent step
_SHOWN_NUMBERS = 200  # single numbers that the picture shows as they are after the step
_BARS = 20  # of a histogram


def describe(node: Card | Fold, view: View, lang: str) -> dict[str, Any]:
    """What the panel tells about a card or a fold."""
    return _fold(node, view, lang) if isinstance(node, Fold) else _card(node, view, lang)


def _card(card: Card, view: View, lang: str) -> dict[str, Any]:
    op = words(card.op_name, lang)
    made, known = card.kind == "op", card.gradient is not None
    kind = op.name if made else say(card.kind, lang)
    home = view.home(card)
    module = f"{view.trace.path_of(home)} {home.label}".strip()
    return {
        "title": card.formula or card.name,
        "kind": kind,
        "module": module,
        "search": f"{card.name} {card.formula} {kind} {card.op_name} {module}".lower(),
        "run": run(card) if made else None,
        "computes": _sentence(op.forward, lang) if made else "",
        "passes": _sentence(op.backward, lang) if made else "",
        "rules": [written_rule(edge, lang) for edge in card.inputs] if card.step is not None else [],
        "kept": ", ".join(card.kept),
        "value": statistics(card.value, lang),
        "gradient": statistics(card.gradient, lang) if known else None,
        "reason": "" if known else say("no_gradient", lang, reason=translate(card.no_gradient, lang)),
    }


def _fold(fold: Fold, view: View, lang: str) -> dict[str, Any]:
    """Of a fold: what is in it, what becomes of the gradient, and the norms of the gradients of its parameters."""
    name, kinds = view.name(fold), Counter(card.op_name for card in fold.cards)
    outputs = ", ".join(dict.fromkeys(text.size(card.value) for card in fold.outputs))
    ops = ", ".join(f"{count} {words(op, lang).name}" for op, count in kinds.items())
    learned = [leaf for leaf in fold.parameters if leaf.gradient is not None]
    rows = [(leaf.name, translate(text.magnitude(leaf.gradient), lang)) for leaf in learned[:_SHOWN_MOVES]]
    return {
        "title": name,
        "kind": label(fold),
        "module": "",
        "search": f"{name} {label(fold)} {' '.join(leaf.name for leaf in fold.leaves)}".lower(),
        "run": [ops, f"→ {outputs}"],
        "computes": say("folded_ops", lang, count=len(fold.cards)),
        "passes": say("folded_back", lang),
        "rules": [(translate(ratio(fold, view), lang), "")] if not view.trace.status else [],
        "kept": "",
        "value": statistics(fold.outputs[-1].value, lang),
        "gradient": {"rows": rows} if rows else None,
        "reason": "",
    }


def _sentence(words: str, lang: str) -> str:
    first = words[0] if words[1] == " " else words[0].upper()  # x is a name
    return first + words[1:] + ("" if words.endswith(("?", "？")) else {"en": ".", "zh": "。"}[lang])


def statistics(array: Any, lang: str) -> dict[str, Any]:
    """A number as it is; of a tensor its shape, extremes, mean, norm, share of zeros, and a histogram."""
    array = np.asarray(array)
    if array.size == 1 or array.size == 0:
        shown = text.number(array.reshape(())) if array.size else translate("empty", lang)
        return {"rows": [(f"{array.dtype} {array.shape}", shown)]}
    real = array.astype(np.float64)
    rows = [("norm", text.number(text.norm(real)))] if array.dtype.kind == "f" else []
    rows += [
        ("min", text.number(array.min())),
        ("max", text.number(array.max())),
        ("mean", text.number(text.mean(array))),
    ]
    rows += [
        ("zero", f"{100 * float(np.mean(array == 0)):.3g} %"),
        ("shape", str(array.shape)),
        ("dtype", f"{array.dtype}"),
    ]
    result: dict[str, Any] = {"rows": [(say(key, lang), shown) for key, shown in rows]}
    half = real[np.isfinite(real)] / 2  # so that the distance from the smallest to the largest is finite, too
    low, high = half.min(initial=np.inf), half.max(initial=-np.inf)
    if array.size > text.FEW and low < high:
        counts, _ = np.histogram((half - low) / (high - low), _BARS, (0, 1))
        result["bars"] = np.ceil(100 * counts / counts.max()).astype(int).tolist()
        result["range"] = say("histogram", lang, low=text.number(2 * low), high=text.number(2 * high))
    return result


# Gradient descent ---------------------------------------------------------------------------------------------------


def tell_descents(view: View, descents: list[Descent], rate: float, lang: str) -> dict[str, Any]:
    """The moves of the parameters for each step size, and the curve of the root over the step size."""
    trace = view.trace
    leaves = trainable(trace)
    heads = [say(key, lang).lower() for key in ("parameter", "before", "gradient", "new")]
    more = len(leaves) - _SHOWN_MOVES
    curve = say("curve", lang, root=trace.root.symbol)
    return {
        "root": trace.root.symbol,
        "start": [descent.rate for descent in descents].index(rate),
        "heads": heads,
        "moved": [card.id for card in leaves if view.shown[card] is card],
        "more": say("more", lang, count=more) if more > 0 else "",
        "rates": [_rate(view, leaves[:_SHOWN_MOVES], descent, lang) for descent in descents],
        "curve": curve,
        "label": curve,
        "legend": say("curve_legend", lang),
        **_curve(descents),
    }


def _rate(view: View, leaves: list[Card], descent: Descent, lang: str) -> dict[str, Any]:
    last = {frame.key: frame.caption for frame in frames(view, descent, lang=lang) if frame.phase == "update"}
    fell = [
        (say("before", lang), descent.before),
        (say("new", lang), descent.after),
        (say("foretold", lang), descent.foretold),
    ]
    return {
        "rate": text.number(descent.rate),
        "rows": [_move(card, descent.rate, lang) for card in leaves],
        "fell": [(name, text.number(value)) for name, value in fell],
        "captions": last,
        "numbers": {key: text.number(value) for key, value in list(descent.numbers.items())[:_SHOWN_NUMBERS]},
    }


def _move(card: Card, rate: float, lang: str) -> list[str]:
    """A parameter, its value, its gradient and its new value; of tensors the norms."""
    return [card.name, *(translate(text.magnitude(x), lang) for x in (card.value, card.gradient, updated(card, rate)))]


def _curve(descents: list[Descent]) -> dict[str, Any]:
    """The root after one step, and what was foretold, over the step size: in a square of 100, the better the lower."""
    before = descents[0].before
    after = np.array([descent.after for descent in descents])
    known = after[np.isfinite(after)]
    reach = 1.15 * max(before - known.min(initial=before), 1e-12)  # below; above, twice as much
    top = min(known.max(initial=before), before + 2 * reach) + 0.1 * reach
    bottom = before - reach

    def points(values: Iterable[float]) -> list[tuple[float, float]]:
        heights = (float(np.clip((top - y) / (top - bottom), 0, 1)) if np.isfinite(y) else 0.0 for y in values)
        return [(round(100 * n / max(len(descents) - 1, 1), 1), round(100 * y, 1)) for n, y in enumerate(heights)]

    foretold = points(descent.foretold for descent in descents)
    return {"points": points(after.tolist()), "foretold": foretold, "level": points([before])[0][1]}
