"""What flags and folds say, in English and in Simplified Chinese side by side.

Pictures are written and laid out in English, and their words put into another language at the end. The template that
writes a sentence also recognizes it there, so that the two languages cannot drift apart.

>>> sentence("dead", count=1, size=3, units="units is")
'1 of 3 units is closed on every row (dead)'
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Formatter

# {count:d} is a whole number; what stands in a field called words is a sentence itself, and put into the language too.
FLAGS: dict[str, tuple[str, str]] = {
    "nan": ("its values hold NaN", "它的值含有 NaN"),
    "not_reached": ("no gradient reached this parameter", "没有梯度到达该参数"),
    "missing": (
        "{count:d} {parameters} not in this graph, no gradient reaches: {names}",
        "{count} 个参数不在图中，没有梯度到达：{names}",
    ),
    "dead": ("{count:d} of {size:d} {units} closed on every row (dead)", "{size} 个单元中 {count} 个在每一行都关闭"),
    "saturated": (
        "{count:d} of {size:d} {units} saturated on every row (saturated)",
        "{size} 个单元中 {count} 个在每一行都饱和",
    ),
    "vanishes": (
        "the gradient vanishes: norm {norm}, {ratio} times the next module’s",
        "梯度消失：范数 {norm}，是下一模块的 {ratio} 倍",
    ),
    "explodes": (
        "the gradient explodes: norm {norm}, {ratio} times the next module’s",
        "梯度爆炸：范数 {norm}，是下一模块的 {ratio} 倍",
    ),
}
FOLDS: dict[str, tuple[str, str]] = {
    "further": ("{why}: folded further; {words}", "{why}：进一步折叠；{words}"),
    "opens": (
        "{folded:d} of {total:d} ops are folded into {cards}; expand=[{path}] opens {it}",
        "{total} 个运算中 {folded} 个已折叠；expand=[{path}] 可展开",
    ),
    "folded": ("{folded:d} of {total:d} ops are folded into {cards}", "{total} 个运算中 {folded} 个已折叠"),
    "hint": ("{name}: {count:d} ops folded", "{name}：折叠了 {count} 个运算"),
    "head": ("{count:d} {ops} folded: {kinds} · out {shapes}", "折叠了 {count} 个运算：{kinds} · 输出 {shapes}"),
    "run": ("from {first} to {last}: {kinds} · out {shapes}", "从 {first} 到 {last}：{kinds} · 输出 {shapes}"),
    "value": ("value norm {norm}", "值范数 {norm}"),
    "stopped": ("gradient norm {norm} → none: its inputs need none", "梯度范数 {norm} → 无：输入不需要梯度"),
    "passed": ("gradient norm {arriving} → {leaving}", "梯度范数 {arriving} → {leaving}"),
    "no_bars": ("gradient norm at each output: 0", "各输出处的梯度范数：0"),
    "some_bars": (
        "gradient norm at each output, first to last, {least} … {most}; bars: {decades:d} decades, every {step:d}th of "
        "{count:d}",
        "各输出处的梯度范数，从前到后，{least} … {most}；柱：{decades} 个数量级，{count} 个中每 {step} 个取一个",
    ),
    "bars": (
        "gradient norm at each output, first to last, {least} … {most}; bars: {decades:d} decades",
        "各输出处的梯度范数，从前到后，{least} … {most}；柱：{decades} 个数量级",
    ),
    "bar": ("{path}: gradient norm {norm}", "{path}：梯度范数 {norm}"),
    "parameter": ("{name}   gradient norm {norm}", "{name}   梯度范数 {norm}"),
    "no_gradient": ("{name}   gradient: {words}", "{name}   梯度：{words}"),
    "several": ("{words}; {count:d} more inside", "{words}；里面还有 {count} 处"),
    "more": ("and {count:d} more", "以及另外 {count} 个"),
}


def sentence(kind: str, **values: object) -> str:
    """A sentence in English, with its numbers and names."""
    return (FLAGS.get(kind) or FOLDS[kind])[0].format(**values)


def patterns() -> Iterator[tuple[str, str]]:
    """For each sentence a regular expression, its fields being groups, and its Chinese; a flag also behind a name."""
    for english, chinese in FLAGS.values():
        yield _pattern(english), chinese
        yield _pattern("{name}: " + english), "{name}：" + chinese
    for english, chinese in FOLDS.values():
        yield _pattern(english), chinese


def _pattern(template: str) -> str:
    pattern = ""
    for literal, field, spec, _ in Formatter().parse(template):
        some = r"\d+" if spec == "d" else ".+"
        pattern += re.escape(literal) + (f"(?P<{field}>{some})" if field else "")
    return pattern
