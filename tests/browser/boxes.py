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


def texts_cut_off(page: Any, slack: float = 1.0) -> list[str]:
    """The texts in an SVG that stick out of the picture."""
    found: list[str] = page.evaluate(
        """slack => {
        const picture = document.querySelector('svg').getBoundingClientRect();
        return [...document.querySelectorAll('svg text')].filter(text => {
            const own = text.getBoundingClientRect();
            return own.left < picture.left - slack || own.right > picture.right + slack ||
                own.top < picture.top - slack || own.bottom > picture.bottom + slack;
        }).map(text => text.textContent);
    }""",
        slack,
    )
    return found


def overlapping_texts(page: Any, slack: float = 2.0) -> list[str]:
    """The pairs of texts in an SVG that run into each other by more than `slack` pixels in both directions."""
    found: list[str] = page.evaluate(
        """slack => {
        const shown = text => text.textContent.trim() && text.checkVisibility({opacityProperty: true});
        const texts = [...document.querySelectorAll('svg text')].filter(shown);
        const boxes = texts.map(text => [text.textContent, text.getBoundingClientRect()]);
        return boxes.flatMap(([one, a], i) => boxes.slice(i + 1).filter(([other, b]) =>
            Math.min(a.right, b.right) - Math.max(a.left, b.left) > slack &&
            Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > Math.max(slack, a.height / 2)
        ).map(([other]) => `${one} and ${other}`));
    }""",
        slack,
    )
    return found


def faint_texts(page: Any, contrast: float = 4.5) -> list[str]:
    """The texts in an SVG whose contrast with the filled shape below them is less than `contrast` : 1."""
    found: list[str] = page.evaluate(
        """contrast => {
        const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
        const light = colour => {
            const linear = x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
            const [r, g, b] = numbers(colour).map(x => linear(x / 255));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const fill = element => getComputedStyle(element).fill;
        const opaque = element => fill(element).startsWith('rgb(') && getComputedStyle(element).fillOpacity === '1';
        const within = (box, x, y) => box.left <= x && x <= box.right && box.top <= y && y <= box.bottom;
        const all = [...document.querySelectorAll('svg path, svg polygon, svg rect, svg text')];
        const shapes = all.filter(each => each.tagName !== 'text' && !each.closest('defs') && opaque(each))
            .map(each => [all.indexOf(each), each.getBoundingClientRect(), fill(each)]);
        return all.flatMap((text, place) => {
            if (text.tagName !== 'text' || !text.textContent.trim()) return [];
            const own = text.getBoundingClientRect(), x = (own.left + own.right) / 2, y = (own.top + own.bottom) / 2;
            const below = shapes.filter(([before, box]) => before < place && within(box, x, y)).at(-1);
            if (!below) return [`${text.textContent}: nothing below`];
            const [a, b] = [light(fill(text)), light(below[2])];
            const found = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            return found < contrast ? [`${text.textContent}: ${found.toFixed(1)} (${fill(text)} on ${below[2]})`] : [];
        });
    }""",
        contrast,
    )
    return found
