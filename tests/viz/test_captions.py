"""Every op has words in both languages."""

import re

import pytest

from tinygrad_edu.ops import registry
from viz import captions

CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize("op", registry)
def test_every_op_has_words_in_both_languages(op: str) -> None:
    assert op in captions.ops(), f"{op}: add it to viz/captions.py"
    english, chinese = captions.words(op, "en"), captions.words(op, "zh")
    assert all(english)
    assert all(CHINESE.search(text) for text in chinese), chinese
    assert not any(CHINESE.search(text) for text in english)


def test_the_table_names_no_op_that_is_gone() -> None:
    assert captions.ops() == frozenset(registry)


def test_an_op_that_gradient_cannot_pass_says_so() -> None:
    silent = {name for name, op in registry.items() if not op.differentiable}
    said = {name for name in registry if captions.words(name).backward.startswith("no gradient passes")}
    assert silent == said


def test_an_op_of_the_users_own_keeps_its_name() -> None:
    assert captions.words("my_op").name == captions.words("my_op", "zh").name == "my_op"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ValueError, match=r"viz\.steps: lang is one of 'en', 'zh', got 'fr'"):
        captions.check_language("fr", "viz.steps")
