"""The frames of a page: their order, what appears when, and what is said."""

import re

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
import viz
from tests.viz.reading import broadcasting, fan_out, neuron, value_of
from tinygrad_edu import Op, Tensor, nn
from viz import replay, stepper, wording
from viz.fold import fold
from viz.frames import Frame, frames
from viz.replay import descend, trainable, why_no_descent
from viz.trace import trace
from viz.wording import translate, translate_source


def frames_of(root: Tensor, lang: str = "en", names: dict[str, Tensor] | None = None) -> dict[str, Frame]:
    traced = trace(root, names)
    refused = why_no_descent(traced)
    descent = None if refused else descend(traced, 0.01)
    return {frame.key: frame for frame in frames(fold(traced), descent, refused=refused, lang=lang)}


@pytest.fixture(scope="module")
def story() -> dict[str, Frame]:
    y, names = neuron()
    y.backward()
    return frames_of(y, names=names)


def test_forward_then_back_then_one_step_of_descent(story: dict[str, Frame]) -> None:
    assert list(story) == ["start", *(f"f{n}" for n in range(1, 6)), *map(str, range(6)), "end", "update", "after"]
    assert [frame.phase for frame in story.values()] == ["forward"] * 6 + ["backward"] * 7 + ["update"] * 2


def test_each_frame_says_what_its_op_does(story: dict[str, Frame]) -> None:
    assert story["f1"].mathematics == [("p₁ = w₁ · x₁", "0.2355 · 1 = 0.2355")]
    assert "y = 0.1025" in story["0"].caption
    assert story["2"].caption == "add: both inputs receive the arriving gradient unchanged."
    assert "Here z > 0, so the gate is open." in story["1"].caption
    assert story["4"].mathematics[0] == ("∂p₂/∂w₂ = x₂", "1 × (−2) = −2")
    assert "if w₂ grows by 0.01, y changes by about −0.02" in story["end"].caption


def test_every_product_that_is_said_is_right(story: dict[str, Frame]) -> None:
    for number in range(1, 6):
        for _, sums in story[str(number)].mathematics:
            left, _, right = sums.partition(" = ")
            factors = [value_of(part) for part in left.split(" × ")]
            assert np.isclose(np.prod(factors), value_of(right), rtol=1e-3)


def test_what_appears_once_never_appears_again(story: dict[str, Frame]) -> None:
    shown = [identity for frame in story.values() for identity in frame.shows]
    assert len(shown) == len(set(shown))


def test_a_gradient_appears_when_its_last_part_has_arrived() -> None:
    c = fan_out()
    c.backward()
    story = frames_of(c)
    assert "gradient 1 of 3" in story["1"].caption
    assert "a_g-t0" not in story["1"].shows
    assert "its gradients add up: 6 + 3 + 3 = 12." in story["2"].caption
    assert "a_g-t0" in story["2"].shows


def test_a_broadcast_and_an_input_without_gradient_are_told() -> None:
    loss = broadcasting()
    loss.backward()
    captions = " ".join(frame.caption for frame in frames_of(loss).values())
    assert "The gradients of all broadcast copies of b are added up." in captions
    assert "x needs no gradient." in captions


def test_before_backward_there_is_the_forward_pass_only() -> None:
    y, _ = neuron()
    story = frames_of(y)
    assert list(story)[-1] == "0"
    assert "The gradients are not shown" in story["0"].caption


# One step of gradient descent


def test_the_step_lowers_the_root_as_foretold() -> None:
    y, names = neuron()
    y.backward()
    descent = descend(trace(y), 0.01)
    assert descent.before == pytest.approx(0.1025)
    assert descent.after == pytest.approx(0.1025 - 0.01 * (1 + 4 + 1))
    assert descent.foretold == pytest.approx(descent.after)
    assert names["w1"].item() == pytest.approx(0.2355), "the recorded tensors stay as they are"


def test_the_replayed_step_is_what_the_optimizer_does() -> None:
    te.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Dropout(0.5), nn.LayerNorm(8), nn.Linear(8, 4))
    x, labels = Tensor(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)), np.array([0, 1, 2, 3, 0])
    te.manual_seed(1)
    loss = F.cross_entropy(model(x), labels)
    loss.backward()
    descent = descend(trace(loss), 0.05)
    te.optim.SGD(model.parameters(), lr=0.05).step()
    te.manual_seed(1)  # the same mask is drawn again
    assert F.cross_entropy(model(x), labels).item() == pytest.approx(descent.after, rel=1e-5)
    assert descent.before == loss.item()


def test_parameters_move_and_without_any_the_variables() -> None:
    y, _ = neuron()
    y.backward()
    assert [card.name for card in trainable(trace(y))] == ["w₁", "w₂", "b"]
    x = Tensor(3.0, requires_grad=True, name="x")
    y = x * x
    y.backward()
    assert [card.name for card in trainable(trace(y))] == ["x"]


def test_an_op_that_draws_at_random_is_refused_by_name() -> None:
    generator = np.random.default_rng(0)
    noise = Op("noise", lambda x: x + generator.normal(size=x.shape), vjp=(lambda g, y, x: g,), formula=("G",))
    x = Tensor(np.ones(3), requires_grad=True, name="x")
    loss = te.apply(noise, x).sum()
    loss.backward()
    last = list(frames_of(loss).values())[-1]
    assert "cannot be shown" in last.caption
    assert "noise draws at random" in last.caption
    assert "noise 含随机数" in list(frames_of(loss, "zh").values())[-1].caption


def test_a_root_of_many_elements_cannot_be_lowered() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    y = x * 2.0
    y.retain_grad()
    y.backward([1.0, 1.0])
    assert "only a single number" in why_no_descent(trace(y))
    assert len(replay.RATES) > 10


def test_a_large_model_is_computed_again_for_one_step_size_only(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygraphviz")
    y, names = neuron()
    y.backward()
    monkeypatch.setattr(stepper, "_LARGE", 2)
    page = viz.steps(y, names=names, rate=0.02).html
    assert page.count('"rate":"') == 1
    assert '"rate":"0.02"' in page


# Chinese


def test_every_sentence_is_said_in_both_languages() -> None:
    for key in wording._TEXTS:
        english, chinese = wording._TEXTS[key]
        assert set(re.findall(r"{(\w+)}", english)) == set(re.findall(r"{(\w+)}", chinese)), key
        assert any(letter > "\u3000" for letter in chinese), key


def test_the_whole_story_is_told_in_chinese() -> None:
    te.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    x = Tensor(np.linspace(-1, 1, 12).reshape(4, 3).astype(np.float32), name="x")
    loss = F.cross_entropy(model(x), Tensor(np.array([0, 1, 0, 1]), name="labels"))
    loss.backward()
    for frame in frames_of(loss, "zh").values():
        assert any("\u4e00" <= letter <= "\u9fff" for letter in frame.caption), frame


def test_the_words_of_a_picture_are_chinese_and_names_stay() -> None:
    y, names = neuron()
    y.backward()
    source = viz.draw(y, names=names, lang="zh").source
    for words in ("反向从这里开始", "梯度向上流", "参数", "门开", "乘 · 反向第 5 步"):
        assert words in source
    for words in (">value<", ">gradient<", "backward step", "gate open"):
        assert words not in source
    assert translate("value", "en") == "value"
    assert translate("not one of ours", "zh") == "not one of ours"
    x = Tensor(2.0, requires_grad=True, name="value")
    assert "L = value · value" in translate_source(viz.draw(x * x).source, "zh")


def test_no_english_sentence_is_left_in_a_chinese_page() -> None:
    pytest.importorskip("pygraphviz")
    y, names = neuron()
    y.backward()
    page = viz.steps(y, names=names, lang="zh").html
    assert '<html lang="zh"' in page
    page = page[: page.rindex("<script>")]
    for words in ("arriving gradient", "Next step", "The chain rule", "Gradient", "Press "):
        assert words not in page


@pytest.mark.parametrize("make", [viz.draw, viz.steps])
def test_an_unknown_language_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match="lang is one of 'en', 'zh', got 'fr'"):
        make(fan_out(), lang="fr")
