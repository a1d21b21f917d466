"""Formulas as the pictures write them, turned into LaTeX."""

from __future__ import annotations

import re
import unicodedata

_SIGNS = {
    "⊙": r"\odot",
    "·": r"\cdot",
    "×": r"\times",
    "⊗": r"\otimes",
    "−": "-",
    "Σ": r"\sum",
    "Π": r"\prod",
    "√": r"\surd",
    "∂": r"\partial",
    "≥": r"\ge",
    "≤": r"\le",
    "≠": r"\ne",
    "→": r"\to",
    "←": r"\leftarrow",
    "‖": r"\|",
    "σ": r"\sigma",
    "π": r"\pi",
    "ε": r"\varepsilon",
    "…": r"\dots",
    "ᵀ": r"^{\top}",
}
_PLAIN = set("+-=/()[],.<>|!:;'\"?* 0123456789")
_ESCAPES = {c: "\\" + c for c in "#$%&_{}"} | {"\\": r"\backslash ", "~": r"\sim ", "^": r"\hat{} "}
_TOKEN = re.compile(
    r"∂(?P<above>[^∂/]+)/∂(?P<below>[^=]+?)(?= |$|\))"  # a partial derivative
    r"|(?P<array>\[(?:\[(?:\[[^][]*\] ?)+\] ?)+\]|\[(?:\[[^][]*\] ?)+\]|\[(?:[−\d. naif]|e[+−]?\d)+\])"  # numbers
    r"|(?P<words> (?:over|of) [\w ]+)"
    r"|(?P<name>[^\W\d_][\w.̂]*)"
    r"|\^(?P<power>\(?[\w−. ]+\)?)"
    r"|(?P<high>[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)"
    r"|(?P<sign>.)",
    re.DOTALL,
)


def aligned(rows: list[str]) -> str:
    r"""Equations, each with an & at its = sign, under each other."""
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


def derivative(above: str, below: str, sign: str = r"\partial") -> str:
    r"""∂y/∂x as a fraction; with the sign `\mathrm{d}`, the derivative along all paths."""
    return rf"\frac{{{sign} {formula(above)}}}{{{sign} {formula(below)}}}"


def formula(written: str) -> str:
    r"""A formula of the pictures in LaTeX's mathematics.

    >>> formula("∂y/∂w₂"), formula("xᵀ · G"), formula("[[1 −2] [0 3]]")
    ('\\frac{\\partial y}{\\partial w_{2}}', 'x^{\\top} \\cdot G', '\\begin{pmatrix}1 & -2 \\\\ 0 & 3\\end{pmatrix}')
    """
    tokens = "".join(_token(match) for match in _TOKEN.finditer(written))
    return re.sub(" +", " ", tokens).strip()


def _token(match: re.Match[str]) -> str:
    kind, found = match.lastgroup, match[0]
    if match["above"]:
        return derivative(match["above"], match["below"])
    if kind == "words":
        return rf"\text{{{found}}}"
    if kind == "array":
        return _matrix(found)
    if kind == "name":
        return _name(found)
    if kind == "power":
        return f"^{{{formula(match['power'])}}}"
    if kind == "high":
        return f"^{{{unicodedata.normalize('NFKC', found)}}}".replace("−", "-")
    if found in _SIGNS:
        return _SIGNS[found] + (" " if _SIGNS[found][-1].isalpha() else "")
    return found if found in _PLAIN else _ESCAPES.get(found, rf"\text{{{found}}}")


def _matrix(numbers: str) -> str:
    """[[1 2] [3 4]] as a matrix, [1 2] as one of one row; of more axes, the brackets stay."""
    if numbers.startswith("[[["):
        return numbers.replace("−", "-").replace(" ", r"\ ")
    rows = re.findall(r"\[([^\[\]]*)\]", numbers)
    lines = [" & ".join(row.replace("−", "-").split()) for row in rows]
    return r"\begin{pmatrix}" + r" \\ ".join(lines) + r"\end{pmatrix}"


def _name(name: str) -> str:
    """A letter with its subscript; x̂ with its hat; longer words upright."""
    name = unicodedata.normalize("NFD", name)
    parts = re.fullmatch(r"(?P<stem>.*?)(?P<hat>̂?)(?P<low>[₀-₉]*)(?P<top>ᵀ?)", name)
    assert parts is not None
    stem = "".join(_SIGNS.get(c, _ESCAPES.get(c, c)) for c in parts["stem"])
    stem = stem if len(parts["stem"]) <= 1 else rf"\mathrm{{{stem}}}"
    stem = rf"\hat{{{stem}}}" if parts["hat"] else stem
    low = f"_{{{unicodedata.normalize('NFKC', parts['low'])}}}" if parts["low"] else ""
    return stem + low + (r"^{\top}" if parts["top"] else "")
