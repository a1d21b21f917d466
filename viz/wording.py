"""Sentences and labels of pages, films and the terminal, in English and Simplified Chinese; ops have captions.py."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from html import escape, unescape

from viz import captions, sentences
from viz.captions import LANGUAGES

# In English, then in Chinese. Braces are filled in by `say`.
_TEXTS: dict[str, tuple[str, str]] = {
    # The steps of a page
    "intro": (
        "This is {title}. First its value is computed, from what is given to the result. Then we walk back and ask "
        "of each number: if it grew a little, how much would {root} change?",
        "这是 {title}。先从给定的数算出结果；再往回走，对每个数问：如果它增大一点点，{root} 会变化多少？",
    ),
    "press": (" Press → for the next step.", "按 → 进入下一步。"),
    "forward": ("{op}: {what}.", "{op}：{what}。"),
    "turn": (
        "The forward pass ends at {root} = {value}. Now we turn around: how does {root} change when what it was "
        "computed from changes a little? For {root} itself the answer is 1: that is the first gradient.",
        "前向计算到 {root} = {value} 结束。现在掉头：当构成它的数变化一点点时，{root} 会变化多少？"
        "对 {root} 自己，答案是 1：这就是第一个梯度。",
    ),
    "turn_seed": (
        "The forward pass ends at {root}. Now we turn around, with the gradient that was given to backward().",
        "前向计算到 {root} 结束。现在带着传给 backward() 的梯度掉头。",
    ),
    "backward": ("{op}: {what}.", "{op}：{what}。"),
    "gate_open": (
        "Here {condition}, so the gate is open.",
        "这里 {condition}，所以门是开的。",
    ),
    "gate_closed": (
        "Here {condition}, so the gate is closed: what lies before it receives 0.",
        "这里 {condition}，所以门是关的：它之前的一切都得到 0。",
    ),
    "broadcast": (
        "The gradients of all broadcast copies of {name} are added up.",
        "{name} 广播出的所有副本的梯度相加。",
    ),
    "needs_none": ("{name} needs no gradient.", "{name} 不需要梯度。"),
    "one_of": (
        "{name} is used {count} times: this is gradient {number} of {count} that will be added up.",
        "{name} 被使用了 {count} 次：这是将要相加的第 {number} 个梯度，共 {count} 个。",
    ),
    "added": ("{name} is used {count} times, so its gradients add up", "{name} 被使用了 {count} 次，所以它的梯度相加"),
    "folded": (
        "{name} ({label}): the gradient passes back through its {count} ops, folded into one card.",
        "{name}（{label}）：梯度往回通过其中的 {count} 个运算，它们折叠成一张卡片。",
    ),
    "folded_forward": (
        "{name} ({label}): its {count} ops run, folded into one card.",
        "{name}（{label}）：其中的 {count} 个运算运行，它们折叠成一张卡片。",
    ),
    "folded_ops": ("{count} ops, folded into one card.", "{count} 个运算，折叠成一张卡片。"),
    "folded_back": (
        "The gradient arrives at its output, and leaves at its inputs.",
        "梯度从输出处到达，从输入处离开。",
    ),
    "end": (
        "All gradients are known. ∂{root}/∂{name} = {gradient} says: if {name} grows by {small}, {root} changes by "
        "about {change}.",
        "所有梯度都已求出。∂{root}/∂{name} = {gradient} 的意思是：{name} 增大 {small} 时，{root} 大约变化 {change}。",
    ),
    "end_tensors": (
        "All gradients are known. Each says in which direction {root} grows fastest; the longest is that of {name}, "
        "with norm {gradient}.",
        "所有梯度都已求出。每个梯度指出 {root} 增长最快的方向；最长的是 {name} 的梯度，范数为 {gradient}。",
    ),
    "update": (
        "One step of gradient descent: each parameter p moves against its gradient g, to p − η · g, with the step "
        "size η = {rate}.",
        "梯度下降一步：每个参数 p 逆着它的梯度 g 移动到 p − η · g，步长 η = {rate}。",
    ),
    "after": (
        "Computed once more with the new parameters, {root} is {after}; it was {before}. Going straight on with "
        "the gradients it would be {foretold}: where the two differ, {root} is curved.",
        "用新的参数再算一次，{root} 是 {after}；之前是 {before}。"
        "沿直线走会得到 {foretold}；两者不同，因为 {root} 是弯的。",
    ),
    "no_replay": (
        "One step of gradient descent cannot be shown: {reason}.",
        "无法展示梯度下降一步：{reason}。",
    ),
    "not_run": (
        "The gradients are not shown: {reason}.",
        "没有展示梯度：{reason}。",
    ),
    # The page
    "phase_forward": ("Forward", "前向"),
    "phase_backward": ("Backward", "反向"),
    "phase_update": ("Descent", "下降"),
    "previous": ("Previous step", "上一步"),
    "next": ("Next step", "下一步"),
    "play": ("Play", "播放"),
    "pause": ("Pause", "暂停"),
    "step_of": ("step {number} of {count}", "第 {number} 步，共 {count} 步"),
    "progress": ("Progress", "进度"),
    "phases": ("Parts", "阶段"),
    "zoom_in": ("Zoom in", "放大"),
    "zoom_out": ("Zoom out", "缩小"),
    "zoom_all": ("Show all", "显示全部"),
    "fold": ("Fold: less detail", "折叠：更少细节"),
    "unfold": ("Unfold: more detail", "展开：更多细节"),
    "search": ("Search", "搜索"),
    "search_hint": ("name, op or module", "名称、运算或模块"),
    "nothing_found": ("nothing found", "没有找到"),
    "toggle": ("Fold or unfold", "折叠或展开"),
    "more": ("and {count} more", "以及另外 {count} 个"),
    "theme_label": ("Light or dark", "浅色或深色"),
    "help": ("Keys", "按键"),
    "details": ("Details", "详情"),
    "close": ("Close", "关闭"),
    "picture": ("Computation graph", "计算图"),
    "minimap": ("Overview: click to go there", "全图：点击前往"),
    "all_steps": ("All steps, in words", "全部步骤（文字）"),
    "no_script": (
        "Stepping needs JavaScript. The picture shows the last step; all steps stand below in words.",
        "逐步播放需要 JavaScript。图中是最后一步；全部步骤以文字列在下面。",
    ),
    "mathematics": ("The chain rule here", "这里的链式法则"),
    "computed": ("What is computed", "计算内容"),
    "value": ("Value", "值"),
    "gradient": ("Gradient", "梯度"),
    "no_gradient": ("gradient: {reason}", "梯度：{reason}"),
    "kept": ("kept for backward", "为反向保留"),
    "module": ("module", "模块"),
    "shape": ("shape", "形状"),
    "dtype": ("type", "类型"),
    "norm": ("norm", "范数"),
    "min": ("smallest", "最小"),
    "max": ("largest", "最大"),
    "mean": ("mean", "平均"),
    "zero": ("exactly zero", "恰为零"),
    "histogram": ("how often which value occurs, from {low} to {high}", "各值出现的频率，从 {low} 到 {high}"),
    "parameter": ("parameter", "参数"),
    "variable": ("variable", "变量"),
    "data": ("data", "数据"),
    "step_size": ("Step size η", "步长 η"),
    "before": ("before", "之前"),
    "new": ("after", "之后"),
    "foretold": ("foretold by the gradients", "梯度的预言"),
    "curve": ("{root} after one step, by step size", "一步之后的 {root}（按步长）"),
    "curve_legend": ("dashed: what the gradients foretold", "虚线：梯度的预言"),
    "keys": (
        "→ ←: next, previous step; Space: play, pause; Home End: first, last step; + −: zoom; 0: show all; "
        "/: search; [ ]: fold, unfold; ?: these keys",
        "→ ←: 下一步、上一步; Space: 播放、暂停; Home End: 首步、末步; + −: 缩放; 0: 显示全部; "
        "/: 搜索; [ ]: 折叠、展开; ?: 这些按键",
    ),
    "pointer": (
        "Drag to move, wheel to zoom, click a card for its step.",
        "拖动可移动，滚轮可缩放，点击卡片看它的步骤。",
    ),
    # Films
    "film_no_script": ("A film needs JavaScript.", "影片需要 JavaScript。"),
    "film_loss": ("Loss", "损失"),
    "film_weights": ("Weights", "权重"),
    "film_gradients": ("Gradients", "梯度"),
    "film_activations": ("Activations", "激活"),
    "film_attention": ("Attention", "注意力"),
    "film_boundary": ("Decision boundary", "决策边界"),
    "film_step": ("step {step}: loss {loss}", "第 {step} 步：损失 {loss}"),
}


def say(key: str, lang: str = "en", **values: object) -> str:
    """A sentence or label in the language, with the values filled in.

    >>> say("needs_none", "zh", name="x")
    'x 不需要梯度。'
    """
    return _TEXTS[key][LANGUAGES.index(lang)].format(**values)


# Words within pictures ----------------------------------------------------------------------------------------------

# What the cards say, as patterns for a whole text. What a group with a name matched is translated in its turn; the
# other groups are names and numbers, which stay. What flags and folds say stands in sentences.py.
_PHRASES: list[tuple[str, str]] = [
    (
        r"(.+): value (?P<value>.+), shape (\([\d, ]*\)); gradient:? (?P<gradient>.+)",
        "{0}：值 {value}，形状 {2}；梯度 {gradient}",
    ),
    (r"(?P<words>.+); passes on (?P<passed>.+)", "{words}；传出 {passed}"),
    (
        r"shape (\(.*\)), norm (\S+), min (\S+), max (\S+), mean (\S+), (\S+) % zero",
        "形状 {0}，范数 {1}，最小 {2}，最大 {3}，平均 {4}，零占 {5} %",
    ),
    (r"shape (\(.*\)), empty", "形状 {0}，空"),
    (r"light: the gradient passes; dark: it does not", "浅色：梯度通过；深色：不通过"),
    (r"the chain rule, factor by factor", "链式法则，逐个因子"),
    (r"⚠ (?P<words>.+)", "⚠ {words}"),
    (r"▸ (?P<words>.+ folded .+)", "▸ {words}"),
    (r"attention weights: row = query, column = key", "注意力权重：行 = 查询，列 = 键"),
    (r"norm (\S+), grey: masked", "范数 {0}，灰色：被掩码"),
    (r"parameter", "参数"),
    (r"variable", "变量"),
    (r"data", "数据"),
    (r"value", "值"),
    (r"gradient", "梯度"),
    (r"gate", "门"),
    (r"empty", "空"),
    (r"start", "起点"),
    (r"not run", "未运行"),
    (r"nothing was computed", "没有任何计算"),
    (r"no number", "无数值"),
    (r"frozen", "已冻结"),
    (r"not needed", "不需要"),
    (r"not shown", "未显示"),
    (r"none reached it", "没有梯度到达"),
    (r"gradient: (?P<words>.+)", "梯度：{words}"),
    (r"gradient = sum over uses", "梯度 = 各次使用之和"),
    (r"gradient = sum over (\d+) uses", "梯度 = {0} 次使用之和"),
    (r"kept for backward:  shapes only", "为反向保留：仅形状"),
    (r"kept for backward:  (.+)", "为反向保留：{0}"),
    (r"backward starts here:   (?P<words>.+)", "反向从这里开始：{words}"),
    (r"the gradient given to backward\(\) for (.+)", "传给 backward() 的 {0} 的梯度"),
    (r"↳ (.+)", "↳ {0}"),
    (r"from (.+)", "来自 {0}"),
    (r"(?P<words>\w+), one of (\d+) uses", "{words}，共 {1} 次使用之一"),
    (r"(\s*)(?P<words>parameter|variable|data)(.*) · used (\d+) times", "{0}{words}{2} · 使用 {3} 次"),
    (r"(\s*)(?P<words>parameter|variable|data)(  \([\d, ]*\))?", "{0}{words}{2}"),
    (r"(.+) needs no gradient", "{0} 不需要梯度"),
    (r"not differentiable here", "此处不可微"),
    (r"passes unchanged", "原样通过"),
    (r"undo the broadcast (.+)", "撤销广播 {0}"),
    (r"element by element (.+)", "逐元素 {0}"),
    (r"(\d+) of (\d+) gates are closed: no gradient passes there", "{1} 个门中 {0} 个关闭：梯度不通过"),
    (r"(.+)   \(gate open: (.+)\)", "{0}   （门开：{1}）"),
    (r"(.+)   \(gate closed: (.+)\)", "{0}   （门关：{1}）"),
    (r"(.+) \(left\)(.*)", "{0}（左）{1}"),
    (r"(.+) \(right\)(.*)", "{0}（右）{1}"),
    (r"(.+) \(input (\d+)\)(.*)", "{0}（输入 {1}）{2}"),
    (r"(.*) over all (\d+) elements", "{0}（全部 {1} 个元素）"),
    (r"(.*) over (\d+) rows", "{0}（{1} 行）"),
    (r"(.*) over (\d+) columns", "{0}（{1} 列）"),
    (r"(.*) over ax[ei]s ([\d, ]+): (\d+) terms", "{0}（轴 {1}：{2} 项）"),
    (r"norm (\S+)(?P<words>  \d+ × \d+ block means)?", "范数 {0}{words}"),
    (r"(\s*)(\d+) × (\d+) block means", "{0}{1} × {2} 块均值"),
    (r"min (\S+)  max (\S+)", "最小 {0}  最大 {1}"),
    (r"(\S+) % open", "{0} % 开"),
    (r"↓ values flow down", "↓ 数值向下流"),
    (r"→ values flow to the right", "→ 数值向右流"),
    (r"↑ gradients flow up:  (?P<words>.+)", "↑ 梯度向上流：{words}"),
    (r"← gradients flow to the left:  (?P<words>.+)", "← 梯度向左流：{words}"),
    (r"arriving gradient × local derivative = gradient passed on", "传来的梯度 × 局部导数 = 传出的梯度"),
    (r"G = (.+)\(this card\)", "G = {0}（本卡片）"),
    (r"heat maps:  −", "热图：  −"),
    (r"\+   scaled to each tensor’s largest \|value\|", "+   按每个张量的最大绝对值缩放"),
    (
        r"(\d+) paths lead there: at each fan-out their gradients are added(.*)",
        "有 {0} 条路径：在每个分叉处它们的梯度相加（粗线最大）",
    ),
    (r"several paths lead there \(thick lines\): their gradients are added", "有多条路径（粗线）：它们的梯度相加"),
    (r"gradients: not run \(call backward\(\) first\)", "梯度：未运行（先调用 backward()）"),
    (r"not opened: an input was changed in place after the op ran", "未展开：输入在运算之后被原地修改"),
    (r"value changed in place after it was used", "值在使用之后被原地修改"),
    (r"\.grad holds (?P<words>.+): more than one backward\(\)", ".grad 为 {words}：不止一次 backward()"),
    (r"only a single number that depends on parameters can be lowered", "只有依赖参数的单个数才能被降低"),
    (r"(.+) is (\S+), and a step from there leads nowhere", "{0} 是 {1}，从那里迈步没有意义"),
    (
        r"computed again from the same numbers, (.+) is another one "
        r"\((.+) draws at random, or reads something that changed\)",
        "用同样的数再算一次，{0} 却不同（{1} 含随机数，或读取了变化的内容）",
    ),
    (r"a leaf: no op made it", "叶子：不是由运算得到"),
    (r"nothing was recorded: no tensor in this picture requires a gradient", "没有记录：图中没有张量需要梯度"),
    (r"no gradient reached it", "没有梯度到达"),
    (r"(\d+) uses; together (?P<words>.+)", "{0} 次使用；合计 {words}"),
    (r"value of (.+)", "{0} 的值"),
    (r"gradient of (.+)", "{0} 的梯度"),
]


def translate(text: str, lang: str) -> str:
    """What a card says, in the language; a text that is no phrase of ours stays as it is.

    >>> translate("gradient: not run", "zh"), translate("multiply · backward step 2", "zh")
    ('梯度：未运行', '乘 · 反向第 2 步')
    """
    if lang == "en" or not text.strip():
        return text
    for pattern, replacement, phrases in _compiled():
        match = pattern.fullmatch(text)
        if match:
            inner = {
                name: translate(part, lang) if name in phrases else part for name, part in match.groupdict("").items()
            }
            return replacement.format(*match.groups(""), **inner)
    return _work(text, lang)


@cache
def _compiled() -> list[tuple[re.Pattern[str], str, Collection[str]]]:
    """Each pattern, what it becomes, and which of its groups are phrases themselves."""
    spoken = [(re.compile(source), chinese, ("words",)) for source, chinese in sentences.patterns()]
    phrases = [(re.compile(source), chinese) for source, chinese in _PHRASES]
    return [*spoken, *((pattern, chinese, pattern.groupindex) for pattern, chinese in phrases)]


@cache
def _op_names(lang: str) -> dict[str, str]:
    return {captions.words(op).name: captions.words(op, lang).name for op in captions.ops()}


def _work(text: str, lang: str) -> str:
    """The line under a formula: the op, its options, the number of its step, how often it is used, its shape."""
    first, *rest = text.split(" · ")
    if first not in _op_names(lang):
        return text
    parts = [re.sub(r"^backward step (\d+)$", r"反向第 \1 步", part) for part in rest]
    parts = [re.sub(r"^used (\d+) times$", r"使用 \1 次", part) for part in parts]
    return " · ".join([_op_names(lang)[first], *parts])


def translate_source(source: str, lang: str) -> str:
    """A DOT source with the words of its cards in the language. Names and formulas, which are bold, stay.

    Of what is bold, only what becomes of a gradient on its way through a fold is a sentence.
    """
    if lang == "en":
        return source

    def within(match: re.Match[str]) -> str:
        text = unescape(match[2])
        translated = translate(text, lang)
        return match[0] if translated == text else f"{match[1]}{escape(translated)}{match[3]}"

    source = re.sub(r"(<font [^<>]*>)([^<>]+)(</font>)", within, source)
    source = re.sub(r"(<font [^<>]*><b>)(gradient norm [^<>]+ → [^<>]+)(</b></font>)", within, source)
    return re.sub(r'(tooltip=")((?:[^"\\]|\\.)+)(")', within, source)
