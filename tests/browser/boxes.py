"""Where things are on a page, as the browser laid them out: texts that leave their card, cards that overlap."""

from typing import Any

_SHARED = """
    const nodes = [...document.querySelectorAll('svg g.node')].filter(node => node.getClientRects().length);
    const box = element => element.getBoundingClientRect();
    // The frame of a card is its largest shape: Graphviz draws each cell as a shape of its own.
    const frame = node => [...node.querySelectorAll('path, polygon')].map(box)
        .reduce((most, each) => each.width * each.height > most.width * most.height ? each : most);
"""


def texts_outside(page: Any, slack: float = 1.5) -> list[str]:
    """The texts in an SVG that Graphviz drew that stick out of their card by more than `slack` pixels."""
    found: list[str] = page.evaluate(
        """slack => {"""
        + _SHARED
        + """
        return nodes.flatMap(node => {
            const card = frame(node);
            return [...node.querySelectorAll('text')].filter(text => {
                const own = box(text);
                return own.width > 0 && (own.left < card.left - slack || own.right > card.right + slack ||
                    own.top < card.top - slack || own.bottom > card.bottom + slack);
            }).map(text => `${node.id}: ${text.textContent}`);
        });
    }""",
        slack,
    )
    return found


def overlapping_cards(page: Any, slack: float = 1.0) -> list[str]:
    """The pairs of cards in an SVG that Graphviz drew that overlap by more than `slack` pixels."""
    found: list[str] = page.evaluate(
        """slack => {"""
        + _SHARED
        + """
        const frames = nodes.map(node => [node.id, frame(node)]);
        return frames.flatMap(([name, a], i) => frames.slice(i + 1).filter(([other, b]) =>
            Math.min(a.right, b.right) - Math.max(a.left, b.left) > slack &&
            Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > slack
        ).map(([other]) => `${name} and ${other}`));
    }""",
        slack,
    )
    return found
