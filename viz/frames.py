"""The frames of a picture that moves: forward card by card, back, one step of gradient descent. Plain data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from viz import text
from viz.captions import words
from viz.dot import DETAILED
from viz.folded import label, ratio
from viz.formulas import substituted
from viz.parts import Card, Edge, Fold, Link, View
from viz.replay import Descent
from viz.wording import say, translate

_SMALL = 0.01  # the change of a parameter whose effect the last backward frame foretells
_FEW = 4  # so many inputs are spoken of by name in a caption


@dataclass(frozen=True)
class Frame:
    """One moment: what is looked at, what appears in the picture, and what is said."""

    key: str  # in links: start, f1, f2, ... forward, 0, 1, 2, ... backward, end, update, after
    phase: str  # forward, backward or update
    caption: str
    card: str = ""  # the id of the card that is outlined
    near: list[str] = field(default_factory=list)  # the ids of the cards that it takes from and gives to
    shows: list[str] = field(default_factory=list)  # the ids in the SVG that appear now
    flows: list[str] = field(default_factory=list)  # the ids of the lines that something flows along
    mathematics: list[tuple[str, str]] = field(default_factory=list)  # a rule or formula, and its numbers


@np.errstate(all="ignore")  # whatever the user's own pass already warned about
def frames(
    view: View, descent: Descent | None = None, *, refused: str = "", lang: str = "en", hint: bool = True
) -> list[Frame]:
    """All frames of a view, in order. Without a descent, the reason that was given is said instead, if any.

    hint: whether to say which key leads on.

    >>> import tinygrad_edu as te
    >>> from viz.fold import fold
    >>> from viz.trace import trace
    >>> x = te.Tensor(3.0, requires_grad=True, name="x")
    >>> y = x * x
    >>> y.backward()
    >>> [frame.key for frame in frames(fold(trace(y)))]
    ['start', 'f1', '0', '1', 'end']
    """
    trace = view.trace
    root = view.shown[trace.root].id
    result = [_start(view, lang, hint), *_forward(view, lang)]
    if trace.status or trace.root.step is None:
        reason = (
            translate(trace.status or "nothing was computed", lang).removeprefix("gradients: ").removeprefix("梯度：")
        )
        return [*result, Frame("0", "backward", say("not_run", lang, reason=reason), root)]
    result += [_turn(view, lang), *_backward(view, lang), _end(view, lang)]
    if descent is not None:
        result += _descent(view, descent, lang)
    elif refused:
        result.append(Frame("update", "update", say("no_replay", lang, reason=translate(refused, lang)), root))
    return result


# Forward ------------------------------------------------------------------------------------------------------------


def _start(view: View, lang: str, hint: bool) -> Frame:
    said = say("intro", lang, title=view.trace.title, root=view.trace.root.symbol)
    return Frame("start", "forward", said + (say("press", lang) if hint else ""))


def _forward(view: View, lang: str) -> list[Frame]:
    """One frame for each op and each fold, as they ran."""
    acting = [node for node in view.nodes if isinstance(node, Fold) or node.kind == "op"]
    return [_run(node, number, view, lang) for number, node in enumerate(acting, 1)]


def _run(node: Card | Fold, number: int, view: View, lang: str) -> Frame:
    links = view.inputs[node.id]
    lines = [name for link in links for name in forward_lines(link, view)]
    near = [link.source.id for link in links]
    shows = [*lines, *value_ids(node)]
    if isinstance(node, Fold):
        what = say("folded_forward", lang, name=view.name(node), label=label(node), count=len(node.cards))
        return Frame(f"f{number}", "forward", what, node.id, near, shows, lines)
    op = words(node.op_name, lang)
    what = say("forward", lang, op=op.name, what=op.forward)
    return Frame(f"f{number}", "forward", what, node.id, near, shows, lines, [run(node)])


def forward_lines(link: Link, view: View) -> list[str]:
    """The line that a value flows along; in a large picture it is that of the gradient too."""
    return [f"f-{link.id}"] if len(view.nodes) <= DETAILED or not link.needs_grad else [f"b-{link.id}"]


def backward_lines(link: Link, view: View) -> list[str]:
    """The line that a gradient flows along, where it is one of its own."""
    return [f"b-{link.id}"] if len(view.nodes) <= DETAILED else []


def run(card: Card) -> tuple[str, str]:
    """The formula of an op and its numbers: `p = w · x` and `2 · (−3) = −6`; of tensors, the shape of the result."""
    if np.ndim(card.value):
        return card.formula, text.size(card.value)
    return card.formula, " = ".join(part for part in (substituted(card), text.number(card.value)) if part)


def value_ids(node: Card | Fold) -> list[str]:
    """Where a card shows its value: the number or picture, its norm, a relu's gate, the weights of attention."""
    return [f"a_{part}-{node.id}" for part in ("v", "nv", "gate", "w", "nw")]


def gradient_ids(node: Card | Fold) -> list[str]:
    """Where a card shows its gradient; a fold also those of its parameters, and of its repetitions."""
    found = [f"a_g-{node.id}", f"a_ng-{node.id}"]
    if isinstance(node, Fold):
        found += [f"a_p-{leaf.id}" for leaf in node.parameters]
        found += [f"a_s-{node.id}-{number}" for number in range(len(node.parts))]
    return found


# Backward -----------------------------------------------------------------------------------------------------------


def _turn(view: View, lang: str) -> Frame:
    """At the root: the gradient that everything starts with."""
    root, node = view.trace.root, view.shown[view.trace.root]
    key = "turn" if np.size(root.gradient) == 1 and np.all(root.gradient == 1) else "turn_seed"
    value = text.number(root.value) if np.size(root.value) == 1 else ""
    shows = [f"a_seed-{root.id}", *(gradient_ids(node) if isinstance(node, Card) else [])]
    caption = say(key, lang, root=root.symbol, value=value)
    seed = translate(view.trace.seed, lang)
    return Frame("0", "backward", caption, node.id, shows=shows, mathematics=[(seed, "")])


def _backward(view: View, lang: str) -> list[Frame]:
    """One frame for each op and each fold, latest first, in the order in which the sweep passed them."""
    passed: set[Edge] = set()
    result: dict[str, Frame] = {}
    for step, node in sorted(view.steps().items()):
        if node.id not in result:
            passed |= {edge for link in view.inputs[node.id] for edge in link.edges if edge.contribution is not None}
            result[node.id] = _pull_back(node, step, passed, view, lang)
    return list(result.values())


def _pull_back(node: Card | Fold, step: int, passed: set[Edge], view: View, lang: str) -> Frame:
    """What one op or fold passes back, and which gradients are complete with it."""
    links = view.inputs[node.id]
    flows = [name for link in links if link.needs_grad for name in backward_lines(link, view)]
    shows = [*flows, *(f"a_u-{link.id}" for link in links)]
    if isinstance(node, Fold):
        shows += gradient_ids(node)
    else:
        shows += [f"a_c-{edge.id}" for edge in node.inputs]
    for source in _sources(links):
        if isinstance(source, Card) and not _missing(source, passed):
            shows += gradient_ids(source)
    caption = _said(node, links, passed, view, lang)
    near = [link.source.id for link in links]
    return Frame(str(step), "backward", caption, node.id, near, shows, flows, _sums(node, view, lang))


def _sums(node: Card | Fold, view: View, lang: str) -> list[tuple[str, str]]:
    if isinstance(node, Fold):
        return [(translate(ratio(node, view), lang), "")]
    return [(written_rule(edge, lang)[0], passed_on(edge, lang)) for edge in node.inputs]


def _sources(links: list[Link]) -> list[Card | Fold]:
    """The cards that a gradient is sent to, each once."""
    sent = (link.source for link in links if any(edge.contribution is not None for edge in link.edges))
    return list(dict.fromkeys(sent))


def _missing(card: Card, passed: set[Edge]) -> int:
    """How many contributions to the gradient of a card have not arrived yet."""
    return sum(edge.contribution is not None and edge not in passed for edge in card.uses)


def _said(node: Card | Fold, links: list[Link], passed: set[Edge], view: View, lang: str) -> str:
    """What happens, in words: the rule of the op, then what is special here."""
    if isinstance(node, Fold):
        sentences = [say("folded", lang, name=view.name(node), label=label(node), count=len(node.cards))]
    else:
        op = words(node.op_name, lang)
        sentences = [say("backward", lang, op=op.name, what=op.backward)]
        copied = [edge.source.name for edge in node.inputs if edge.note.startswith("undo the broadcast")]
        sentences += [say("broadcast", lang, name=", ".join(copied[:_FEW]))] if copied else []
        for edge in node.inputs[:_FEW]:
            sentences += _special(edge, lang)
    for source in _sources(links)[:_FEW]:
        sentences += _added(source, passed, lang) if isinstance(source, Card) else []
    return (" " if lang == "en" else "").join(dict.fromkeys(sentences))


def _special(edge: Edge, lang: str) -> list[str]:
    gate = re.search(r"\((gate open|gate closed): (.+)\)$", edge.rule)
    if gate:
        return [say(gate[1].replace(" ", "_"), lang, condition=gate[2])]
    if not edge.needs_grad and not edge.source.tensor.requires_grad:
        return [say("needs_none", lang, name=edge.source.name)]
    return []


def _added(source: Card, passed: set[Edge], lang: str) -> list[str]:
    """Of a tensor that is used several times: how far the sum of its gradients has come."""
    terms = [edge for edge in source.uses if edge.contribution is not None]
    if len(terms) < 2:
        return []
    missing = _missing(source, passed)
    if missing:
        number = len(terms) - missing
        return [say("one_of", lang, name=source.symbol, number=number, count=len(terms))]
    added = say("added", lang, name=source.symbol, count=len(terms))
    stop = "." if lang == "en" else "。"
    if np.ndim(source.gradient) or len(terms) > _FEW:
        return [added + stop]
    total = " + ".join(text.factor(edge.contribution) for edge in terms)
    colon = ": " if lang == "en" else "："
    return [f"{added}{colon}{total} = {text.number(source.gradient)}{stop}"]


def written_rule(edge: Edge, lang: str = "en") -> tuple[str, str]:
    """The rule of one edge, and its numbers; the reason where there is none."""
    return (translate(edge.rule, lang), numbers(edge, lang)) if edge.rule else (translate(edge.note, lang), "")


def numbers(edge: Edge, lang: str = "en") -> str:
    """What an edge passes on, and between tensors what happens to the shapes before."""
    note = translate(edge.note, lang)
    return passed_on(edge, lang) if edge.scalar or not note else f"{note}\n{passed_on(edge, lang)}".strip()


def passed_on(edge: Edge, lang: str = "en") -> str:
    """1 × (−2) = −2 between scalars; for tensors, the norm of the contribution."""
    if edge.contribution is None:
        return ""
    if not edge.scalar:
        return f"→ {translate(text.magnitude(edge.contribution), lang)}"
    local = text.factor(edge.local) if edge.local is not None else "?"
    return f"{text.factor(edge.upstream)} × {local} = {text.number(edge.contribution)}"


def _end(view: View, lang: str) -> Frame:
    """What the gradients say, with the one that says most."""
    trace = view.trace
    leaves = [card for card in trace.cards if card.kind != "op" and card.gradient is not None]
    best = max(leaves, key=lambda card: (card.kind == "parameter", text.norm(card.gradient)))
    gradient = text.norm(best.gradient) if np.ndim(best.gradient) else float(best.gradient)
    values = {"root": trace.root.symbol, "name": best.symbol, "gradient": text.number(gradient)}
    if np.ndim(best.gradient):
        return Frame("end", "backward", say("end_tensors", lang, **values | {"name": best.name}))
    values |= {"small": text.number(_SMALL), "change": text.number(_SMALL * gradient)}
    return Frame("end", "backward", say("end", lang, **values), view.shown[best].id)


# Gradient descent ---------------------------------------------------------------------------------------------------


def _descent(view: View, descent: Descent, lang: str) -> list[Frame]:
    """The step, and what it did to the root."""
    step = say("update", lang, rate=text.number(descent.rate))
    root = view.trace.root
    numbers = {name: text.number(getattr(descent, name)) for name in ("before", "after", "foretold")}
    done = say("after", lang, root=root.symbol, **numbers)
    return [Frame("update", "update", step), Frame("after", "update", done, view.shown[root].id)]
