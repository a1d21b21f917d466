"""What flags and folds say is recognized, all of it, and said in Chinese."""

from __future__ import annotations

import re
from string import Formatter
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import viz
from tinygrad_edu import Tensor, nn
from viz.fold import Folding
from viz.sentences import FLAGS, FOLDS, sentence
from viz.trace import trace
from viz.wording import translate

ALL = {**FLAGS, **FOLDS}


NASTY = {field: f"{field}.0: a, b; c (3,) value" for field in ("name", "names", "path", "why")}


def filled(kind: str) -> dict[str, Any]:
    """Values for all fields, none like another; names as nasty as names of modules are."""
    fields = [(field, spec) for _, field, spec, _ in Formatter().parse(ALL[kind][0]) if field]
    return {
        field: 100 + number
        if spec == "d"
        else "frozen"
        if field == "words"
        else NASTY.get(field, f"{number}.5 {field}")
        for number, (field, spec) in enumerate(fields)
    }


def test_the_kinds_are_told_apart() -> None:
    assert not set(FLAGS) & set(FOLDS)


@pytest.mark.parametrize("kind", ALL)
def test_each_sentence_is_recognized_and_said_in_chinese(kind: str) -> None:
    values = filled(kind)
    said = {field: "已冻结" if field == "words" else value for field, value in values.items()}
    chinese = ALL[kind][1].format(**said)
    assert translate(sentence(kind, **values), "zh") == chinese
    assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese)
    assert sentence(kind, **values) == translate(sentence(kind, **values), "en")


@pytest.mark.parametrize("kind", FLAGS)
def test_a_flag_is_recognized_behind_a_name_and_a_sign(kind: str) -> None:
    values = filled(kind)
    words = f"⚠ ▸ blocks.0: {sentence(kind, **values)}"
    assert translate(words, "zh") == f"⚠ ▸ blocks.0：{FLAGS[kind][1].format(**values)}"


def test_names_stay_names() -> None:
    for name in ("value", "frozen", "parameter"):
        assert translate(f"▸ {name}", "zh") == f"▸ {name}"
        assert translate(sentence("hint", name=name, count=2), "zh") == f"{name}：折叠了 2 个运算"


def chinese_texts(root: Tensor, **options: Any) -> str:
    return "\n".join(re.findall(r">([^<>]+)<", viz.draw(root, lang="zh", **options).source))


def test_no_flag_and_no_fold_is_left_in_english() -> None:
    te.manual_seed(0)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()) for _ in range(40)))
    x = np.ones((3, 4), np.float32)
    loss, dead = model(x).sum(), (model(x) - 2.0).relu().sum()
    left = chinese_texts(loss)
    loss.backward()
    model[-1][0].weight.data[:] = 1e3
    saturated = model(x).sum()
    for each in (loss, dead, saturated):
        each.backward()
        left += chinese_texts(each) + chinese_texts(each, budget=None) + chinese_texts(each, depth=0)
    for words in ("units", "on every row", "folded", "norm", "decades", "more", "gradient"):
        assert words not in left, words
    for words in ("在每一行都关闭", "在每一行都饱和", "已折叠", "个数量级", "值范数"):
        assert words in left, words


def test_what_took_too_long_is_folded_further_and_says_so() -> None:
    x = Tensor(1.0, requires_grad=True)
    for _ in range(40):
        x = x * 1.5
    view = Folding(budget=None).view(trace(x))
    note = Folding(budget=None).halved(view, TimeoutError("dot took longer than 1 s: fold")).view(trace(x)).note
    assert note.startswith("dot took longer than 1 s: folded further; ")
    assert " ops are folded into one card" in note
    assert re.fullmatch(
        r"▸ dot took longer than 1 s：进一步折叠；40 个运算中 \d+ 个已折叠", translate(f"▸ {note}", "zh")
    )
