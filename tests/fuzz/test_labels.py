"""Whatever a user calls things: pictures stay well-formed, say the name, and run nothing that is in it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import tinygrad_edu as te
import viz
from tinygrad_edu import Tensor, nn
from viz import text as viz_text

NASTY = {
    "script": "<script>alert('x')</script>",
    "cdata": "]]><script>alert(1)</script><![CDATA[",
    "comment": "--><b>",
    "html label": "<b>bold</b><br/>",
    "quotes": '"\'`\\"',
    "attribute": 'x" onload="alert(1)',
    "dot": '"];} digraph { a [label="',
    "port": "a:b:c {x|y}",
    "escapes": "\\N \\G \\l \\n \\",
    "entities": "&amp; &lt &#0; &#xFFFE; &bogus;",
    "lines": "one\ntwo\r\nthree\u2028four",
    "controls": "a\0b\x1b[31mc\x7f\x85",
    "half": "half \ud83d a character",
    "no character": "\ufffe\uffff",
    "right to left": "\u202eאבג abc\u202c",
    "zero width": "a\u200b\u200d\ufeffb",
    "long": "n" * 10_000,
    "wide": "猫🐈‍⬛" * 50,
    "percent": "%s %(x)s {0} {x}",
    "mathtext": "$\\frac{1}{0}$ \\usepackage",
    "empty": "",
    "blank": "   ",
}
bounded = settings(max_examples=60, deadline=5000, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
any_text = st.text(max_size=30) | st.sampled_from(list(NASTY.values()))


def graph(name: str) -> Tensor:
    """A graph in which a tensor, a module, an op and its formula have the name."""
    called = name if name and name.isprintable() else "x"  # an op with another name is refused
    strange = te.Op(called, lambda x: x * 1.0, vjp=(lambda g, y, x: g,), formula=("G",))

    class Layer(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter([1.0, 2.0], name=name)

        def forward(self, x: Tensor) -> Tensor:
            return te.apply(strange, x * self.weight)

        def extra_repr(self) -> str:
            return name

    Layer.__name__ = Layer.__qualname__ = name.replace("\0", "").encode(errors="replace").decode() or "x"
    model = nn.Sequential()
    setattr(model, name, Layer())
    loss = model(Tensor([3.0, 4.0], name=name)).sum()
    loss.name = name
    loss.backward()
    return loss


def labels(source: str) -> list[ElementTree.Element]:
    """The HTML-like labels of a DOT source, parsed as XML, which they must be."""
    found = re.findall(r"label=<(<table.*?</table>)>[ \]\n]", source, flags=re.DOTALL)
    assert len(found) >= 4
    return [ElementTree.fromstring(each) for each in found]


ALLOWED = {"table", "tr", "td", "font", "b", "br", "i", "hr", "vr", "sub", "sup"}


@bounded
@given(any_text)
@example(NASTY["half"])
def test_labels_of_any_name_are_well_formed(name: str) -> None:
    drawing = viz.draw(graph(name), title=name)
    assert len(drawing.source) < 60_000
    drawing.source.encode()
    for label in labels(drawing.source):
        assert {element.tag for element in label.iter()} <= ALLOWED
    assert not re.search(r"[\0-\x08\x0b-\x1f\x7f]", drawing.source)


class Page(HTMLParser):
    """The tags and handlers of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.handlers |= {name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")}

    handle_startendtag = handle_starttag


@pytest.mark.parametrize("kind", NASTY)
def test_pictures_and_pages_of_nasty_names(kind: str) -> None:
    pytest.importorskip("pygraphviz")
    name, plain = NASTY[kind], viz.draw(graph("plain"), title="plain")
    drawing = viz.draw(graph(name), title=name)
    image = ElementTree.fromstring(drawing.svg)
    shown = "".join(image.itertext())
    assert viz_text.name(name).strip()[:20] in shown
    here, there = Page(drawing.html), Page(plain.html)
    assert here.tags <= there.tags | {"br"}
    assert here.handlers <= there.handlers
    width, usual = (float(re.search(r'width="([\d.]+)pt"', each.svg)[1]) for each in (drawing, plain))
    assert width < usual + 3500


@bounded
@given(any_text)
def test_text_pictures_are_plain_text(name: str) -> None:
    loss = graph(name)
    for shown in (viz.tree(loss), repr(Tensor([1.0], name=name))):
        assert not re.search(r"[\0-\x08\x0b-\x1f\x7f-\x9f]", shown)
