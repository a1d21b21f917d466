"""An SVG of Graphviz made small enough for a page that holds many: nothing said twice, heat maps as images."""

from __future__ import annotations

import base64
import re
import struct
import zlib

from viz.palette import MONO, SANS

_CELL = r'<polygon fill="#[0-9a-f]{6}" stroke="none" points="[^"]*"/>\n'
_FEWEST = 9  # cells of a heat map


def compact(svg: str) -> str:
    """The same picture without what a page's style says once, with tooltips that every browser shows."""
    svg = svg[svg.index("<svg") :].replace("&#45;", "-").replace("&#160;", "\u00a0")
    svg = re.sub(r"<!--.*?-->\n?|<title>.*?</title>\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"| xml:space="preserve"| text-anchor="start"', "", svg)
    svg = svg.replace(f' font-family="{MONO}"', ' class="mono"').replace(f' font-family="{SANS}"', "")
    svg = re.sub(r'<a xlink:title="([^"]*)">', r"<g><title>\1</title>", svg).replace("</a>", "</g>")
    svg = re.sub(f"(?:{_CELL}){{{_FEWEST},}}", lambda cells: _image(cells[0]), svg)
    return re.sub(r"<(?:path|polygon|text|image) [^>]*>", lambda tag: re.sub(r"(\.\d)\d+", r"\1", tag[0]), svg)


def _image(cells: str) -> str:
    """Squares that fill a rectangle row by row, as an image of one pixel each; anything else stays as it is."""
    colors = re.findall(r'fill="#([0-9a-f]{6})"', cells)
    boxes = [_box(points) for points in re.findall(r'points="([^"]*)"', cells)]
    lefts, tops = sorted({box[0] for box in boxes}), sorted({box[1] for box in boxes})
    if [box[:2] for box in boxes] != [(left, top) for top in tops for left in lefts]:
        return cells
    left, top, right, bottom = lefts[0], tops[0], max(box[2] for box in boxes), max(box[3] for box in boxes)
    rows = ["".join(colors[start : start + len(lefts)]) for start in range(0, len(colors), len(lefts))]
    source = base64.b64encode(png([bytes.fromhex(row) for row in rows])).decode()
    place = f'x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"'
    return f'<image {place} preserveAspectRatio="none" href="data:image/png;base64,{source}"/>\n'


def _box(points: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a polygon."""
    numbers = [float(number) for number in re.split(r"[ ,]", points)]
    return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def png(rows: list[bytes]) -> bytes:
    """An image as PNG, from rows of red, green and blue bytes (W3C, PNG specification, 3rd edition)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", len(rows[0]) // 3, len(rows), 8, 2, 0, 0, 0)  # 8 bits a channel, no alpha
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)  # each row unfiltered
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
