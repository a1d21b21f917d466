"""The page that steps through a graph: every key and every click, in a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
import viz
from tests.browser.boxes import overlapping_cards, texts_outside
from tests.browser.conftest import Watched
from tests.viz.reading import fan_out, neuron
from tinygrad_edu import Tensor, nn

pytest.importorskip("pygraphviz")

BACKWARD = ("0", "1", "2", "3", "4", "5", "end")
STORY = ["start", "f1", "f2", "f3", "f4", "f5", *BACKWARD, "update", "after"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, made once."""
    path = tmp_path_factory.mktemp("pages")
    y, names = neuron()
    y.backward()
    viz.draw(y, names=names).save(path / "neuron.html")
    viz.steps(y, names=names, lang="zh").save(path / "neuron-zh.html")
    viz.steps(mlp()).save(path / "mlp.html")
    viz.steps(stack()).save(path / "stack.html")
    return path


def stack() -> Tensor:
    """The mean of what four equal residual blocks make of a few rows."""
    te.manual_seed(0)
    model = nn.Sequential(*(Residual(4) for _ in range(4)))
    loss = model(Tensor(np.linspace(-1, 1, 12).reshape(3, 4).astype(np.float32), name="x")).mean()
    loss.backward()
    return loss


class Residual(nn.Module):
    """x + tanh(linear(norm(x)))."""

    def __init__(self, width: int) -> None:
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(self.norm(x)).tanh()


def mlp() -> Tensor:
    """The loss of a small classifier, differentiated."""
    te.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    x = Tensor(np.linspace(-1, 1, 12).reshape(4, 3).astype(np.float32), name="x")
    loss = F.cross_entropy(model(x), Tensor(np.array([0, 1, 0, 1]), name="labels"))
    loss.backward()
    return loss


@pytest.fixture
def page(visit: Callable[..., Any], folder: Path) -> Any:
    """The neuron's page, without motion, so that what a key does is done at once."""
    return visit(folder / "neuron.html", reduced=True)


def key(page: Any) -> str:
    """The key of the frame that is shown, as the address has it."""
    return str(page.evaluate("location.hash.slice(1)"))


def caption(page: Any) -> str:
    return str(page.text_content("#caption"))


def hidden(page: Any) -> set[str]:
    """The ids in the picture that are not yet seen."""
    return set(page.eval_on_selector_all("#stage .future", "parts => parts.map(part => part.id)"))


def scale(page: Any) -> float:
    return float(page.evaluate("new DOMMatrix(getComputedStyle(document.querySelector('#stage svg')).transform).a"))


def offset(page: Any) -> tuple[float, float]:
    x, y = page.evaluate(
        "(m => [m.e, m.f])(new DOMMatrix(getComputedStyle(document.querySelector('#stage svg')).transform))"
    )
    return x, y


# One key from beginning to end


def test_one_key_leads_through_the_whole_story(page: Any) -> None:
    seen, captions = [key(page)], [caption(page)]
    while page.is_enabled("#next"):
        page.keyboard.press("ArrowRight")
        seen.append(key(page))
        captions.append(caption(page))
    assert seen == STORY
    assert len(set(captions)) == len(STORY) - 4  # two multiplications and two additions sound alike, there and back
    assert hidden(page) == set()
    page.keyboard.press("ArrowRight")
    assert key(page) == "after"


def test_what_lies_ahead_is_hidden(page: Any) -> None:
    page.keyboard.press("ArrowRight")
    assert {"a_v-op6", "a_g-op5", "a_c-op9-0", "b-op9-0", "f-op6-0", "a_seed-op9"} <= hidden(page)
    assert not {"a_v-op5", "f-op5-0", "a_v-t0"} & hidden(page)
    assert page.get_attribute("#stage .now", "id") == "op5"
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    assert key(page) == "2"
    assert {"a_c-op7-0", "b-op7-0", "a_g-op6", "a_g-t0"} <= hidden(page)
    assert not {"a_c-op8-0", "a_c-op8-1", "b-op8-0", "a_g-op7", "a_g-t2"} & hidden(page)
    assert page.evaluate("getComputedStyle(document.getElementById('a_c-op7-0')).opacity") == "0"
    assert set(page.eval_on_selector_all("#stage .flow", "all => all.map(each => each.id)")) == {"b-op8-0", "b-op8-1"}


@pytest.mark.parametrize("name", ["mlp", "stack"])
def test_at_the_start_no_card_of_an_op_shows_a_number(visit: Callable[..., Any], folder: Path, name: str) -> None:
    page = visit(folder / f"{name}.html")
    told = r"/^a_(v|nv|w|nw|gate|seed|c|u)-(op|m|run)/"
    parts = f"[...document.querySelectorAll('#stage [id]')].filter(e => {told}.test(e.id))"
    assert page.evaluate(f"{parts}.length") > 5
    assert page.evaluate(f"{parts}.filter(e => !e.classList.contains('future')).map(e => e.id)") == []


def test_the_panel_tells_no_rule_before_its_time(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "neuron.html", reduced=True, fragment="#0")
    assert "∂y/∂z" not in page.text_content("#panel")
    page.keyboard.press("ArrowRight")
    assert "∂y/∂z = 1" in page.text_content("#panel")
    page.keyboard.press("0")
    page.click("#t0")
    assert "The chain rule here" not in page.text_content("#panel")


def test_the_caption_and_its_sums(page: Any, visit: Callable[..., Any], folder: Path) -> None:
    linked = visit(folder / "neuron.html", fragment="#4")
    assert caption(linked).startswith("multiply: each input receives the arriving gradient times the other input.")
    assert "1 × (−2) = −2" in linked.text_content("#sums")
    assert linked.get_attribute("#caption", "aria-live") == "polite"
    assert linked.get_attribute("#caption", "role") == "status"


# Keys


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["End"], "after"),
        (["End", "Home"], "start"),
        (["End", "ArrowLeft"], "update"),
        (["ArrowRight", "ArrowRight", "ArrowLeft"], "f1"),
        (["ArrowLeft"], "start"),
    ],
)
def test_keys_that_step(page: Any, keys: list[str], expected: str) -> None:
    for each in keys:
        page.keyboard.press(each)
    assert key(page) == expected


def test_space_plays_to_the_end_and_pauses(page: Any) -> None:
    page.clock.install()
    page.keyboard.press(" ")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.clock.run_for(12_000)
    assert STORY.index(key(page)) >= 1
    page.keyboard.press(" ")
    stopped = key(page)
    assert page.get_attribute("#play", "aria-label") == "Play"
    page.clock.run_for(30_000)
    assert key(page) == stopped
    page.keyboard.press(" ")
    page.clock.run_for(200_000)
    assert key(page) == "after"
    assert page.get_attribute("#play", "aria-label") == "Play"
    page.keyboard.press(" ")
    assert key(page) == "start", "played once more from the beginning"
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#play", "aria-label") == "Play", "whoever steps takes over"


def test_keys_that_zoom(page: Any) -> None:
    whole = scale(page)
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert scale(page) == pytest.approx(whole * 1.25**2, rel=1e-4)
    page.keyboard.press("-")
    assert scale(page) == pytest.approx(whole * 1.25, rel=1e-4)
    page.keyboard.press("0")
    assert scale(page) == pytest.approx(whole, rel=1e-4)


def test_keys_with_a_modifier_belong_to_the_browser(page: Any) -> None:
    page.keyboard.press("Control+ArrowRight")
    assert key(page) == "start"


# Clicks


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Next step", "2"), ("Previous step", "0"), ("Forward", "start"), ("Descent", "update"), ("Backward", "0")],
)
def test_buttons_that_step(visit: Callable[..., Any], folder: Path, name: str, expected: str) -> None:
    page = visit(folder / "neuron.html", reduced=True, fragment="#1")
    page.get_by_role("button", name=name, exact=True).click()
    assert key(page) == expected


def test_buttons_that_zoom(page: Any) -> None:
    whole = scale(page)
    page.get_by_role("button", name="Zoom in").click()
    assert scale(page) > whole
    page.get_by_role("button", name="Zoom out").click()
    assert scale(page) == pytest.approx(whole, rel=1e-4)
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Show all").click()
    assert scale(page) == pytest.approx(whole, rel=1e-4)


def test_the_play_button(page: Any) -> None:
    page.clock.install()
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(12_000)
    assert key(page) != "start"
    page.get_by_role("button", name="Pause").click()


def test_the_slider_of_progress(page: Any) -> None:
    page.fill("#progress", "9")
    assert key(page) == STORY[9]
    assert page.get_attribute("#progress", "aria-valuetext") == "step 10 of 15"


def test_dragging_moves_the_picture_and_clicks_nothing(page: Any) -> None:
    page.keyboard.press("+")
    before = offset(page)
    card = page.locator("#op8").bounding_box()
    page.mouse.move(card["x"] + 20, card["y"] + 20)
    page.mouse.down()
    page.mouse.move(card["x"] - 20, card["y"] + 50, steps=4)
    page.mouse.up()
    after = offset(page)
    assert after[0] - before[0] == pytest.approx(-40, abs=5)
    assert after[1] - before[1] == pytest.approx(30, abs=5)
    assert key(page) == "start"


def test_the_wheel_zooms_at_the_pointer(page: Any) -> None:
    before, whole = page.locator("#op8").bounding_box(), scale(page)
    page.mouse.move(before["x"], before["y"])
    page.mouse.wheel(0, -300)
    page.wait_for_function(f"document.querySelector('#stage svg').style.transform.indexOf('scale({whole})') < 0")
    after = page.locator("#op8").bounding_box()
    assert scale(page) > 1.3 * whole
    assert (after["x"], after["y"]) == pytest.approx((before["x"], before["y"]), abs=3)


def test_a_card_leads_to_its_step_and_a_leaf_shows_its_details(page: Any) -> None:
    page.click("#op7")
    assert key(page) == "f3"
    page.get_by_role("button", name="Backward").click()
    page.keyboard.press("0")
    page.click("#op7")
    assert key(page) == "3"
    page.keyboard.press("0")
    page.click("#t1")
    assert key(page) == "3"
    assert page.text_content("#panel h2") == "w₂"
    assert page.get_attribute("#stage .picked", "id") == "t1"
    assert "−2" not in page.text_content("#panel"), "its gradient has not arrived yet"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("0")
    page.click("#t1")
    assert "−2" in page.text_content("#panel")


def test_the_overview_leads_there(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "neuron.html", reduced=True, fragment="#1")
    top = offset(page)[1]
    assert page.locator("#minimap .here").get_attribute("data-card") == "op9"
    page.locator("#minimap").click(position={"x": 20, "y": 5})
    assert offset(page)[1] > top + 50
    page.keyboard.press("0")
    assert page.locator("#minimap").is_hidden(), "nothing to find where all is in sight"


def test_the_camera_goes_along_until_somebody_takes_it(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "neuron.html", reduced=True, fragment="#1")
    for step in BACKWARD[2:6]:
        page.keyboard.press("ArrowRight")
        card = page.locator("#stage .now").bounding_box()
        stage = page.locator("#stage").bounding_box()
        assert key(page) == step
        assert card["y"] >= stage["y"] - 1
        assert card["y"] + card["height"] <= stage["y"] + stage["height"] + 1
    page.keyboard.press("-")
    mine = scale(page)
    page.keyboard.press("ArrowLeft")
    assert scale(page) == mine


# Search and links


def test_search_finds_by_name_and_op(page: Any) -> None:
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("relu")
    assert page.locator("#found button").all_text_contents() == ["y = relu(z)relu"]
    page.keyboard.press("Enter")
    assert key(page) == "f5"
    assert page.locator("#search").is_hidden()
    page.keyboard.press("/")
    page.keyboard.type("w₂ parameter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.text_content("#panel h2") == "w₂"
    page.get_by_role("button", name="Search").click()
    page.keyboard.type("no such thing")
    assert page.text_content("#found") == "nothing found"
    page.keyboard.press("Escape")
    assert page.locator("#search").is_hidden()


@pytest.mark.parametrize("linked", ["start", "f3", "0", "3", "update"])
def test_a_link_leads_to_its_step(visit: Callable[..., Any], folder: Path, linked: str) -> None:
    page = visit(folder / "neuron.html", fragment=f"#{linked}")
    assert key(page) == linked
    assert page.input_value("#progress") == str(STORY.index(linked))


def test_an_unknown_link_starts_at_the_beginning(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "neuron.html", fragment="#%3Cscript%3E")
    assert key(page) == "start"
    page.evaluate("location.hash = '#3'")
    page.wait_for_function("document.querySelector('#stage .now')?.id === 'op7'")


def test_all_steps_stand_beneath_in_words_as_links(page: Any) -> None:
    page.click("#words summary")
    items = page.locator("#words li")
    assert items.count() == len(STORY)
    assert "1 × (−2) = −2" in items.nth(10).text_content()
    items.nth(10).locator("a").click()
    page.wait_for_function("document.querySelector('#stage .now')?.id === 'op6'")
    assert page.locator("#words li[aria-current=step]").get_attribute("data-key") == "4"


def test_help_lists_the_keys(page: Any) -> None:
    page.keyboard.press("?")
    assert page.locator("#keys kbd").count() >= 10
    page.keyboard.press("ArrowRight")
    assert key(page) == "start", "keys rest while a dialog is open"
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("ArrowRight")
    assert key(page) == "f1"


# Folding


def cards(page: Any) -> int:
    return int(page.locator("#stage g.node").count())


def test_keys_and_buttons_fold_and_unfold(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "stack.html", reduced=True, fragment="#1")
    whole = cards(page)
    assert page.locator("#unfold").is_disabled()
    counts = [whole]
    while page.is_enabled("#fold"):
        page.keyboard.press("[")
        counts.append(cards(page))
        assert page.locator("#stage .now").count() == 1
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < whole / 4
    assert "× 4" in page.text_content("#stage") or "Sequential" in page.text_content("#stage")
    page.keyboard.press("[")
    while page.is_enabled("#unfold"):
        page.get_by_role("button", name="Unfold: more detail").click()
    assert cards(page) == whole


def test_a_click_folds_a_module_and_another_opens_it(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "stack.html", reduced=True, fragment="#3")
    page.keyboard.press("0")
    whole = cards(page)
    module = page.locator("#stage .cluster.folds").last
    identity = module.get_attribute("id")
    assert module.get_attribute("aria-expanded") == "true"
    module.locator("text").first.click()
    assert cards(page) < whole
    folds = page.locator("#stage .node.folds")
    assert folds.count() >= 1
    assert folds.first.get_attribute("aria-expanded") == "false"
    folded = cards(page)
    page.keyboard.press("0")
    folds.first.click()
    assert cards(page) > folded
    assert identity


def test_folding_works_without_a_mouse(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "stack.html", reduced=True)
    whole = cards(page)
    page.locator("#stage .cluster.folds").first.focus()
    page.keyboard.press("Enter")
    assert cards(page) < whole
    page.locator("#stage .node.folds").first.focus()
    page.keyboard.press(" ")
    assert cards(page) > 1
    assert page.get_attribute("#play", "aria-label") == "Play", "the key was the module's"


def test_a_folded_graph_is_stepped_through_to_the_end(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "stack.html", reduced=True)
    while page.is_enabled("#fold"):
        page.keyboard.press("[")
    said = set()
    while page.is_enabled("#next"):
        page.keyboard.press("ArrowRight")
        said.add(caption(page))
    assert hidden(page) == set()
    assert any("folded into one card" in each for each in said)
    page.keyboard.press("/")
    page.keyboard.type("tanh")
    page.keyboard.press("Enter")
    assert "tanh" in page.text_content("#panel h2"), "what is folded away is found, in a layout that shows it"


# Details and gradient descent


def test_the_panel_has_mathematics_and_statistics(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "mlp.html", fragment="#2")
    panel = page.text_content("#panel")
    for part in ("Each row is multiplied with the weights", "∂L/∂weight = Gᵀ · h₂", "kept for backward", "float32"):
        assert part in panel
    assert page.locator("#panel .of-value th", has_text="norm").count() == 1
    page.keyboard.press("ArrowRight")
    assert page.locator("#panel .histogram").count() == 2


def test_one_step_of_descent_with_numbers(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "neuron.html", reduced=True, fragment="#update")
    assert page.locator("#moves tr").nth(2).text_content() == "w₂0.0665−20.0865"
    assert "η = 0.01" in caption(page)
    assert page.text_content("#a_v-t1 text") == "0.0865"
    assert page.text_content("#a_v-op9 text") == "0.1025"
    page.keyboard.press("ArrowRight")
    assert "y is 0.0425; it was 0.1025" in caption(page)
    assert page.text_content("#a_v-op9 text") == "0.0425"
    page.focus("#rate")
    page.keyboard.press("ArrowLeft")
    assert key(page) == "after", "the slider keeps its keys"
    assert "y is 0.0725" in caption(page)
    assert page.text_content("#a_v-op9 text") == "0.0725"
    page.locator("#stage").focus()
    page.keyboard.press("Home")
    assert page.text_content("#a_v-op9 text") == "0.1025", "the recorded numbers are back"


# Looks


def test_light_dark_and_the_switch(visit: Callable[..., Any], folder: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = 'getComputedStyle(document.querySelector("#op9 text[fill=\\"#1f2933\\"]")).fill'
    page = visit(folder / "neuron.html")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    assert page.evaluate(ink) == "rgb(31, 41, 51)"
    dark = visit(folder / "neuron.html", dark=True)
    assert dark.evaluate(paper) == "rgb(18, 24, 31)"
    assert dark.evaluate(ink) == "rgb(230, 235, 240)"
    dark.get_by_role("button", name="Light or dark").click()
    assert dark.evaluate(paper) == "rgb(255, 255, 255)"
    dark.get_by_role("button", name="Light or dark").click()
    assert dark.evaluate(paper) == "rgb(18, 24, 31)"


def test_a_theme_that_was_chosen_holds(visit: Callable[..., Any], tmp_path: Path) -> None:
    c = fan_out()
    c.backward()
    page = visit(viz.steps(c, theme="dark").save(tmp_path / "dark.html"))
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 24, 31)"


def test_without_motion_nothing_moves(visit: Callable[..., Any], folder: Path) -> None:
    moves = (
        "(s => s.transitionDuration + s.animationName)(getComputedStyle(document.querySelector('#stage .flow path')))"
    )
    still, moving = (visit(folder / "neuron.html", reduced=r, fragment="#2") for r in (True, False))
    assert "none" in still.evaluate(moves)
    assert "flow" in moving.evaluate(moves)


SCREENS = ((375, 667, "Home"), (375, 667, "End"), (768, 1024, "Home"), (1280, 800, "End"), (2560, 1440, "End"))


@pytest.mark.parametrize("name", ["neuron", "neuron-zh", "mlp"])
def test_everything_fits_narrow_and_wide(visit: Callable[..., Any], folder: Path, name: str) -> None:
    page = visit(folder / f"{name}.html", reduced=True)
    for width, height, place in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        page.keyboard.press(place)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert texts_outside(page) == []
        assert overlapping_cards(page) == []
        cut = page.eval_on_selector_all(
            "button, h2, h3, #caption, #sums b, td, th",
            "all => all.filter(e => e.getClientRects().length && e.scrollWidth > e.clientWidth + 1 &&"
            " getComputedStyle(e).display !== 'inline').map(e => e.outerHTML)",
        )
        assert cut == []


def test_on_a_narrow_screen_the_details_are_a_click_away(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "neuron.html", width=375, height=667, fragment="#2")
    assert page.locator("#panel").is_hidden()
    card = page.locator("#stage .now").bounding_box()
    assert card["width"] > 250, "large enough to be read"
    page.get_by_role("button", name="Details").click()
    assert page.locator("#panel").is_visible()
    assert page.get_attribute("#details", "aria-expanded") == "true"
    page.get_by_role("button", name="Details").click()
    assert page.locator("#panel").is_hidden()


def test_everything_that_can_be_pressed_has_a_name_and_shows_the_focus(page: Any) -> None:
    nameless = page.eval_on_selector_all(
        "button, input, nav, [role=region]",
        "all => all.filter(e => !(e.getAttribute('aria-label') || e.textContent.trim())).map(e => e.outerHTML)",
    )
    assert nameless == []
    for _ in range(5):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"


# Safety


NASTY = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "${x} $$ {y} %s",
    "javascript:alert(1)",
    "\\N &lt;b&gt; <!--",
    "a\u202eb]]>",
    "x" * 10_000,
]


def test_names_are_text_whatever_is_in_them(visit: Callable[..., Any], tmp_path: Path) -> None:
    leaves = [Tensor([1.0, 2.0], requires_grad=True, name=name) for name in NASTY]
    total = leaves[0]
    for leaf in leaves[1:]:
        total = total * leaf
    total.name = NASTY[1]
    loss = total.sum()
    loss.backward()
    page = visit(viz.draw(loss, title="".join(NASTY[:3])).save(tmp_path / "x.html"), reduced=True)
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    while page.is_enabled("#next"):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("/")
    page.keyboard.type("script")
    assert "<script>alert(1)</script>" in page.text_content("#found")
    assert page.evaluate("document.scripts.length") == 2
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("document.querySelectorAll('[onload], [onerror]').length") == 0
    assert page.title().startswith(NASTY[0])


def test_the_page_may_reach_no_network_and_run_no_other_script(page: Any, watched: Watched) -> None:
    reached = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'reached', () => 'refused')")
    assert reached == "refused"
    page.evaluate("document.body.setAttribute('onclick', 'window.ran = true'); document.body.click()")
    assert page.evaluate("window.ran") is None
    assert any("Content Security Policy" in error for error in watched.errors)
    watched.errors.clear()
    assert not watched.requests


# Elsewhere


def test_without_script_the_picture_and_the_words_are_there(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "neuron.html", script=False)
    assert page.locator("#stage svg").is_visible()
    assert page.locator("#words li").count() == len(STORY)
    assert "Stepping needs JavaScript" in page.locator("#caption").inner_text()


def test_in_a_notebook_the_page_stands_in_a_frame(visit: Callable[..., Any], tmp_path: Path) -> None:
    c = fan_out()
    c.backward()
    host = tmp_path / "notebook.html"
    host.write_text(f"<!DOCTYPE html><meta charset=utf-8>{viz.steps(c)._repr_html_()}", encoding="utf-8")
    frame = visit(host).frames[1]
    frame.wait_for_selector("#caption:not(:empty)")
    frame.get_by_role("button", name="Next step").click()
    assert frame.text_content("#caption").startswith("add:")
    frame.get_by_role("button", name="Light or dark").click()


def test_sizes(folder: Path) -> None:
    assert (folder / "neuron.html").stat().st_size < 150_000
    assert (folder / "mlp.html").stat().st_size < 600_000


def test_equal_graphs_make_equal_pages() -> None:
    def made() -> str:
        c = fan_out()
        c.backward()
        return viz.steps(c).html + viz.steps(mlp()).html

    assert made() == made()


def test_a_graph_that_nothing_ran_backwards_through(visit: Callable[..., Any], tmp_path: Path) -> None:
    y, names = neuron()
    page = visit(viz.steps(y, names=names).save(tmp_path / "x.html"), reduced=True)
    page.keyboard.press("End")
    assert "The gradients are not shown: not run (call backward() first)." in caption(page)


def test_a_loss_that_is_no_number_is_stepped_through(visit: Callable[..., Any], tmp_path: Path) -> None:
    x = Tensor([-1.0, 2.0], requires_grad=True, name="x")
    with np.errstate(invalid="ignore"):
        loss = x.log().sum()
        loss.backward()
    page = visit(viz.steps(loss).save(tmp_path / "x.html"), reduced=True)
    page.keyboard.press("End")
    assert "cannot be shown: L is nan" in caption(page).lower().replace("l is", "L is")


def test_values_that_changed_since_are_refused() -> None:
    y, names = neuron()
    y.backward()
    steps = viz.steps(y, names=names)
    te.optim.SGD([names["w1"]], lr=0.1).step()
    with pytest.raises(ValueError, match="w₁ was changed in place since the graph was drawn"):
        _ = steps.html


@pytest.mark.parametrize("name", ["x.svg", "x"])
def test_steps_are_saved_as_a_page_only(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"must end in \.html"):
        viz.steps(fan_out()).save(tmp_path / name)
