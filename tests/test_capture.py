"""A captured step does, bit for bit, what the step itself does; what it cannot do it refuses by name."""

import gc
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from models import MLP
from models.transformer import Transformer, TransformerConfig
from tests.samples import SAMPLES, Sample
from tinygrad_edu import GraphError, InputError, Tensor, nn, optim
from tinygrad_edu.program import Value
from tinygrad_edu.recorder import Recorder

Make = Callable[[], tuple[nn.Module, optim.Optimizer, Callable[..., Any]]]


def batch(seed: int, rows: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random((rows, 6), dtype=np.float32), rng.integers(0, 3, rows)


def ids(seed: int, rows: int = 3) -> tuple[np.ndarray, np.ndarray]:
    text = np.random.default_rng(seed).integers(0, 11, (rows, 7))
    return text[:, :-1].copy(), text[:, 1:].copy()


def perceptron(optimizer: Callable[[Any], optim.Optimizer] = lambda p: optim.SGD(p, lr=0.1), **options: Any) -> Make:
    def make() -> tuple[nn.Module, optim.Optimizer, Callable[..., Any]]:
        te.manual_seed(0)
        model = MLP([6, 5, 3], **options)
        stepper = optimizer(model.parameters())

        def step(x: Any, y: Any) -> Tensor:
            loss = F.cross_entropy(model(x), y)
            stepper.zero_grad()
            loss.backward()
            stepper.step()
            return loss

        return model, stepper, step

    return make


def transformer(clip: float | None = None, schedule: bool = False, **options: Any) -> Make:
    def make() -> tuple[nn.Module, optim.Optimizer, Callable[..., Any]]:
        te.manual_seed(0)
        model = Transformer(TransformerConfig(11, 6, 8, 2, 2, **options))
        stepper = optim.AdamW(model.parameters(), lr=1e-2)
        rates = optim.CosineLR(stepper, 10, warmup_steps=3)

        def step(x: Any, y: Any) -> Any:
            loss = F.cross_entropy(model(x), y, axis=-1)
            stepper.zero_grad()
            loss.backward()
            norm = optim.clip_grad_norm_(model.parameters(), clip) if clip else None
            stepper.step()
            if schedule:
                rates.step()
            return loss, norm

        return model, stepper, step

    return make


def plain(result: Any) -> Any:
    return [np.asarray(x).tolist() for x in result] if isinstance(result, tuple) else np.asarray(result).tolist()


def run(make: Make, batches: list[Any], captured: bool) -> tuple[list[Any], Any]:
    """Everything that a training run leaves behind."""
    model, optimizer, step = make()
    step = te.capture(step) if captured else step
    te.manual_seed(1)  # for dropout
    results = [plain(step(*each)) for each in batches]
    states = {name: value.tobytes() for name, value in model.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.data.tobytes() for p in model.parameters()]
    chance = te.random.generator().bit_generator.state
    moments = [{k: v.tobytes() for k, v in state.items()} for state in optimizer.state_dict()["state"]]
    return results, (states, gradients, chance, moments, optimizer.steps)


MLPS = {
    "sgd": perceptron(),
    "momentum": perceptron(lambda p: optim.SGD(p, lr=0.1, momentum=0.9)),
    "adam": perceptron(lambda p: optim.Adam(p, lr=0.01)),
    **{name: perceptron(activation=name) for name in ("elu", "gelu", "leaky_relu", "sigmoid", "silu", "softplus")},
}
TRANSFORMERS = {
    "plain": transformer(),
    "gelu_tanh": transformer(activation="gelu_tanh"),
    "dropout": transformer(dropout=0.2),
    "clipping": transformer(clip=0.5),
    "schedule": transformer(schedule=True),
    "tied, sinusoidal, no bias": transformer(tie_weights=True, positional="sinusoidal", bias=False),
    "everything": transformer(clip=0.5, schedule=True, dropout=0.1),
}


@pytest.mark.parametrize("name", MLPS)
def test_a_perceptron_learns_the_same(name: str) -> None:
    batches = [batch(i) for i in range(7)]
    assert run(MLPS[name], batches, True) == run(MLPS[name], batches, False)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_transformer_learns_the_same(name: str) -> None:
    batches = [ids(i) for i in range(7)]
    assert run(TRANSFORMERS[name], batches, True) == run(TRANSFORMERS[name], batches, False)


def test_each_shape_has_its_own_program() -> None:
    batches = [batch(i, rows=8 if i % 3 else 5) for i in range(12)]
    assert run(perceptron(), batches, True) == run(perceptron(), batches, False)


def test_a_learning_rate_set_from_outside_is_read_anew() -> None:
    def train(captured: bool) -> Any:
        model, optimizer, step = perceptron()()
        step = te.capture(step) if captured else step
        for i in range(6):
            optimizer.groups[0]["lr"] = 0.1 * i
            step(*batch(i))
        return [p.data.tobytes() for p in model.parameters()]

    assert train(True) == train(False)


def test_parameters_changed_from_outside_are_read_anew() -> None:
    def train(captured: bool) -> Any:
        model, _, step = perceptron()()
        step = te.capture(step) if captured else step
        first = model.state_dict()
        results = []
        for i in range(6):
            if i == 4:
                model.load_state_dict(first)
            if i == 5:
                parameter = next(model.parameters())
                parameter.data = parameter.data * 2
            results.append(step(*batch(i)).item())
        return results

    assert train(True) == train(False)


def test_numbers_that_add_up_one_by_one() -> None:
    def train(captured: bool) -> list[Any]:
        x, a = nn.Parameter(0.3), nn.Parameter(1.5)

        def step() -> Tensor:
            x.grad = a.grad = None
            y: Any = x
            for _ in range(3):
                y = (y * 0.999 + a).relu()
                y = y * a * 0.5
            y.backward()
            return y

        step = te.capture(step) if captured else step
        results = []
        for _ in range(5):
            results += [step().item(), x.grad.item(), a.grad.item()]
            with te.no_grad():
                x.data -= 0.5
        return results

    assert train(True) == train(False)


def test_gradients_pile_up_where_nobody_forgets_them() -> None:
    def train(captured: bool) -> Any:
        w = nn.Parameter(np.ones(3, np.float32))

        def step(x: Any) -> None:
            (w * x).sum().backward()

        step = te.capture(step) if captured else step
        for i in range(5):
            step(np.full(3, i, np.float32))
        return w.grad.data.tolist()

    assert train(True) == train(False) == [10, 10, 10]


def test_tensors_as_arguments_get_their_gradients() -> None:
    @te.capture
    def step(x: Tensor) -> Tensor:
        y = (x * x).sum()
        y.backward()
        return y

    for i in range(1, 5):
        x = Tensor([float(i), 2.0], requires_grad=True)
        assert step(x).item() == i * i + 4
        assert x.grad is not None
        assert x.grad.data.tolist() == [2 * i, 4]


def test_gradients_asked_for_with_grad() -> None:
    def penalty(captured: bool) -> list[float]:
        w = nn.Parameter(np.array([1.0, -2.0], np.float32))

        def step(x: Any) -> Tensor:
            (slope,) = te.grad((w * w * x).sum(), [w], create_graph=True)
            loss = (slope**2).sum()
            w.grad = None
            loss.backward()
            (once,) = te.grad((w * w * x).sum(), [w])
            return loss + once.sum() + w.grad.sum()

        step = te.capture(step) if captured else step
        return [step(np.full(2, i, np.float32)).item() for i in range(5)]

    assert penalty(True) == penalty(False)


def test_what_numpy_computes_on_an_argument_is_computed_anew() -> None:
    def step(x: Any, y: Any) -> Any:
        x = x.astype(np.float32) / 255
        kept = np.where(y[::2] != 0, x[::2].max(axis=1), 0)
        chosen = Tensor(x)[y]
        return (Tensor(kept) * chosen.sum(axis=1)[: len(kept)]).sum(), x[0], x.T

    captured = te.capture(step)
    for i in range(5):
        rng = np.random.default_rng(i)
        x, y = rng.integers(0, 255, (6, 6)), rng.integers(0, 3 if i > 1 else 1, 6)
        assert plain(captured(x, y)) == plain(step(x, y))


def test_an_argument_may_be_an_index() -> None:
    w = nn.Parameter(np.arange(8.0).reshape(4, 2))

    def step(x: Any) -> Any:
        rows = (w[x] * w[(x + 1) % 4]).sum()
        w.grad = None
        rows.backward()
        return rows, w.grad

    captured = te.capture(step)
    for ids in ([0, 1], [1, 1], [2, 3], [3, 0]):
        assert plain(captured(np.array(ids))) == plain(step(np.array(ids)))


def test_parts_without_a_gradient() -> None:
    def train(captured: bool) -> list[Any]:
        w = nn.Parameter(np.array([1.0, 2.0], np.float32))

        def step(x: Any) -> tuple[Tensor, Tensor]:
            with te.no_grad():
                scale = (w * x).abs().max()
            loss = ((w * x) / (scale + 1)).sum() + (w.detach() * w).sum()
            w.grad = None
            loss.backward()
            return loss, w.grad

        step = te.capture(step) if captured else step
        return [plain(step(np.array([i, -1], np.float32))) for i in range(5)]

    assert train(True) == train(False)


def test_with_and_without_recording() -> None:
    @te.capture
    def step(x: Any) -> Tensor:
        y = (W * x).sum()
        if y.requires_grad:
            W.grad = None
            y.backward()
        return y

    for i in range(4):
        with te.no_grad():
            step(np.full(2, i, np.float32))
        step(np.full(2, i, np.float32))
        assert W.grad is not None
        assert W.grad.data.tolist() == [i, i]


def test_train_and_eval_are_recorded_apart() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    forward = te.capture(lambda x: model(x))
    x = np.ones((50, 4), np.float32)
    for training in (True, False, True, False):
        model.train(training)
        for _ in range(3):
            expected = (forward(x).data == 0).any()
            assert bool(expected) == training


def test_numbers_around_the_step_are_watched() -> None:
    scale = 1.0

    @te.capture
    def step(x: Any) -> Tensor:
        return Tensor(x) * scale

    for scale in (1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 2.0):
        assert step(np.ones(2)).data.tolist() == [scale, scale]


FACTOR = 1.0


def by_the_factor(x: Any) -> Any:
    return x * FACTOR


class ByTheFactor(nn.Module):
    def forward(self, x: Any) -> Any:
        return by_the_factor(x)


@pytest.mark.parametrize("function", [by_the_factor, lambda x: by_the_factor(x), ByTheFactor()])
def test_numbers_that_functions_find_around_them_are_watched(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    step = te.capture(lambda x: function(Tensor(x)))
    for factor in (1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 2.0):
        monkeypatch.setitem(globals(), "FACTOR", factor)
        assert step(np.ones(2)).data.tolist() == [factor, factor]


def test_results_are_not_overwritten_by_the_next_call() -> None:
    @te.capture
    def step(x: Any) -> Any:
        return Tensor.wrap(np.asarray(x)).reshape(4), (Tensor(x) * 2 + 1) * 3

    results = [step(np.full((2, 2), i, np.float32)) for i in range(5)]
    assert [a.data[0] for a, _ in results] == [0, 1, 2, 3, 4]
    assert [b.data[0, 0] for _, b in results] == [3, 9, 15, 21, 27]


def test_a_frozen_parameter_is_noticed() -> None:
    a, b = nn.Parameter([1.0]), nn.Parameter([2.0])

    @te.capture
    def step() -> None:
        a.grad = b.grad = None
        (a * b).sum().backward()

    for _ in range(4):
        step()
    a.requires_grad_(False)
    step()
    assert a.grad is None
    assert b.grad is not None


def test_an_error_leaves_everything_as_the_step_would() -> None:
    def train(captured: bool) -> Any:
        model, optimizer, step = transformer()()
        step = te.capture(step) if captured else step
        messages = []
        for i in range(6):
            x, y = ids(i)
            if i in (1, 4):
                y[0, 0] = 99
            try:
                step(x, y)
            except IndexError as error:
                messages.append(str(error).split(" [")[0])
        gradients = [p.grad.data.tobytes() for p in model.parameters() if p.grad is not None]
        return [p.data.tobytes() for p in model.parameters()], gradients, optimizer.steps, messages

    assert train(True) == train(False)


def test_own_ops_and_rules_that_call_numpy() -> None:
    cube = te.Op("cube", lambda x: x**3, vjp=(lambda g, y, x: g * np.multiply(3 * x, x),))
    w = nn.Parameter(np.array([1.0, 2.0], np.float32))

    @te.capture
    def step(x: Any) -> Tensor:
        w.grad = None
        cube(w * x).sum().backward()
        return w.grad

    for i in range(5):
        assert step(np.full(2, i, np.float32)).data.tolist() == [3 * i**3, 12 * i**3]


def test_somebody_who_watches_sees_every_op() -> None:
    seen = []

    class Watch(te.autograd.Watcher):
        def applied(self, op: Any, inputs: Any, options: Any, output: Any) -> None:
            seen.append(op.name)

    step = te.capture(lambda x: Tensor(x) * 2 + 1)
    for _ in range(3):
        step(np.ones(2))
    with Watch():
        step(np.ones(2))
    assert seen == ["mul", "add"]


def test_the_program_reads_like_a_step_written_by_hand() -> None:
    _, _, step = perceptron()()
    step = te.capture(step)
    for i in range(3):
        step(*batch(i))
    source = step.source()  # type: ignore[attr-defined]
    for line in ("v1 = linear(", "maximum(v1, 0, out=buffer)", "linear_backward(", "accumulate(", "step("):
        assert line in source


def test_gradients_may_be_changed_by_ops() -> None:
    def train(captured: bool) -> Any:
        model, optimizer, _ = perceptron()()

        def step(x: Any, y: Any, weight: Any) -> Any:
            loss = F.cross_entropy(model(x), y, reduction="none")
            optimizer.zero_grad()
            loss.backward(weight)
            before = [p.grad for p in model.parameters()]
            for p in model.parameters():
                p.grad = p.grad * 0.5 + p
            optimizer.step()
            return [g.sum() for g in before if g is not None]

        step = te.capture(step) if captured else step
        results = [[x.item() for x in step(*batch(i), np.full(8, i, np.float32))] for i in range(6)]
        return results, [p.data.tobytes() for p in model.parameters()]

    assert train(True) == train(False)


def test_an_array_around_the_step_that_changes_in_place_is_read_anew() -> None:
    table = np.zeros(4)

    @te.capture
    def step() -> Tensor:
        return Tensor(table[::2]) + table[1::2]

    for i in range(12):
        table[:] = i
        assert step().data.tolist() == [2 * i, 2 * i]


def test_what_was_the_same_by_chance_is_found_later() -> None:
    @te.capture
    def step(x: Any) -> Tensor:
        hidden = np.asarray(x) > 0.5  # NumPy behind the recorder's back
        return W * hidden

    for _ in range(9):
        step(np.zeros(2, np.float32))
    with pytest.raises(GraphError, match="mul: input 1 changes from call to call"):
        step(np.ones(2, np.float32))
    assert step(np.zeros(2, np.float32)).data.tolist() == [0, 0]  # the wrong program is gone
    assert step(np.zeros(2, np.float32)).data.tolist() == [0, 0]


# What is refused -----------------------------------------------------------------------------------------------------

W = nn.Parameter(np.array([1.0, 2.0], np.float32))
CELL = [0]


def _count(x: Any) -> Tensor:
    CELL[0] += 1
    return W * CELL[0]


def _in_place(x: Any) -> None:
    with te.no_grad():
        W[0] = 3.0


def _hooked(x: Any) -> None:
    y = W * 2
    y.register_hook(lambda g: g * 2)
    y.sum().backward()


def _kept(x: Any) -> None:
    y = W * 2
    y.retain_grad()
    y.sum().backward()


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "item": (lambda x: (W * x).sum().item(), r"the elements of sum \(\) are read within the step"),
    "data": (lambda x: (W * x).data + 1, "the elements of mul"),
    "branch": (lambda x: W if (W * x).sum() > 0 else -W, "the elements of"),
    "numpy": (lambda x: np.asarray(W) * 2, "the elements of"),
    "argument as number": (lambda x: W * float(x[0]), "an element of an argument is read"),
    "branch on an argument": (lambda x: W if x[0] > 0 else -W, "an element of an argument is read"),
    "argument in place": (lambda x: x.__iadd__(1), "an argument is changed in place"),
    "argument sorted": (lambda x: x.sort(), "an argument is changed in place"),
    "assignment": (_in_place, "the elements of|changed in place"),
    "hook": (_hooked, "has a hook"),
    "kept": (_kept, "the gradient of mul .* is kept"),
    "own chance": (lambda x: W * te.random.generator().random(2), "draws random numbers outside of dropout"),
    "Python's chance": (lambda x: W * random.random(), "draws random numbers outside of dropout"),
    "counting": (_count, r"mul: input 1 changes from call to call \(\d+, now \d+\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_replayed_is_refused(name: str) -> None:
    step, message = REFUSED[name]
    step = te.capture(step)

    def three_times() -> None:
        for i in range(3):
            step(np.full(2, i, np.float32))

    with pytest.raises(GraphError, match=f"capture: .*{message}"):
        three_times()


@pytest.mark.parametrize(
    "write",
    [
        lambda x: np.asarray(x).fill(5),
        lambda x: x.view(np.ndarray).sort(),
        lambda x: np.asarray(x + 1).fill(5),
        lambda x: np.copyto(x, 5),
        lambda x: x.flat.__setitem__(0, 5),
    ],
)
def test_an_argument_cannot_be_written_to_by_any_view(write: Callable[[Any], None]) -> None:
    def step(x: Any) -> Tensor:
        write(x)
        return W * x

    x = np.zeros(2)
    with pytest.raises(ValueError, match="read-only"):
        te.capture(step)(x)
    assert not x.any()


@pytest.mark.parametrize("name", ["mean", "round", "std", "trace", "var", "searchsorted"])
def test_methods_of_an_argument_are_computed_anew(name: str) -> None:
    def step(x: Any) -> Tensor:
        return Tensor(getattr(x[0] if name == "searchsorted" else x, name)(*([1.5] * (name == "searchsorted"))))

    captured = te.capture(step)
    for i in range(5):
        x = np.array([[1.26, 2.0], [3.0, 4.0]]) * i
        assert captured(x).data.tolist() == step(x).data.tolist()


def test_a_step_that_changes_the_numbers_around_it_is_refused() -> None:
    number = 0

    @te.capture
    def step(x: Any) -> Tensor:
        nonlocal number
        number += 1
        return W * x

    with pytest.raises(GraphError, match="the step changes number"):
        step(np.ones(2))


@pytest.mark.parametrize("wrong", [3, None, Tensor([1.0])])
def test_what_is_no_function_is_refused(wrong: Any) -> None:
    with pytest.raises(
        InputError, match=rf"^capture: expected a function.*got {type(wrong).__name__} .*without calling"
    ):
        te.capture(wrong)


def test_too_many_recordings_are_refused() -> None:
    step = te.capture(lambda x, number: W * x * number)
    for number in range(16):
        step(np.ones(2), number)
    with pytest.raises(GraphError, match="was recorded 16 times"):
        step(np.ones(2), 16)


def test_an_argument_with_a_history_is_refused() -> None:
    step = te.capture(lambda x: x.sum())
    for _ in range(3):
        step(W.detach())
    with pytest.raises(GraphError, match=r"an argument of <lambda> has a history \(mul"):
        step(W * 2)


def test_an_optimizer_may_not_move_an_argument_but_a_parameter() -> None:
    x, parameter = Tensor([1.0], requires_grad=True), nn.Parameter([1.0])
    optimizer = optim.SGD([x, parameter], lr=0.1)

    @te.capture
    def step(w: Tensor) -> None:
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()

    with pytest.raises(GraphError, match="an optimizer moves an argument"):
        step(x)
    for _ in range(4):
        step(parameter)
    assert parameter.item() == pytest.approx(0.8**4)


def test_another_model_in_the_same_place_is_recorded_anew() -> None:
    def forward(x: Any) -> Tensor:
        return model(x)

    model = nn.Linear(2, 2)
    captured = te.capture(forward)
    x = np.ones((1, 2), np.float32)
    for _ in range(3):
        captured(x)
    model = nn.Linear(2, 2)
    for _ in range(3):
        assert plain(captured(x)) == plain(forward(x))


class Scaled(nn.Module):
    """A layer with attributes of all kinds, which keeps what it computed last."""

    def __init__(self) -> None:
        self.layer: Any = nn.Linear(2, 2)
        self.constant: Any = Tensor([1.0, 2.0])
        self.array = np.ones(2, np.float32)
        self.scalar = np.float32(1)
        self.pair = (1.0, 2.0)
        self.many = [1.0]

    def forward(self, x: Any) -> Tensor:
        self.last = self.layer(x) * self.constant * self.array * self.scalar * self.pair[0] * self.many[0]
        self.size = self.last.shape
        return self.last


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layer", nn.Linear(2, 2)),
        ("layer.weight", nn.Parameter(np.ones((2, 2), np.float32))),
        ("constant", Tensor([3.0, 4.0])),
        ("array", np.full(2, 3, np.float32)),
        ("scalar", np.float32(3)),
        ("pair", (3.0, 2.0)),
        ("many", [3.0]),
    ],
)
def test_a_module_that_gets_another_attribute_is_recorded_anew(name: str, value: Any) -> None:
    model = Scaled()
    captured = te.capture(lambda x: model(x))
    x = np.ones((1, 2), np.float32)
    for _ in range(3):
        captured(x)
    *path, last = name.split(".")
    setattr(getattr(model, path[0]) if path else model, last, value)
    assert plain(captured(x)) == plain(model(x))


def test_what_a_module_keeps_of_its_results_makes_no_recording_stale() -> None:
    model = Scaled()
    captured = te.capture(lambda x: model(x))
    x = np.ones((1, 2), np.float32)
    for _ in range(30):
        assert plain(captured(x)) == plain(model(x))


def differentiated(sample: Sample) -> list[bool]:
    return [
        getattr(x, "dtype", None) == np.float64 and sample.op.rule(i) is not None for i, x in enumerate(sample.inputs)
    ]


def bits(x: Any) -> Any:
    return None if x is None else (np.shape(x), np.asarray(x).tobytes())


@pytest.mark.parametrize("sample", [s for s in SAMPLES if any(differentiated(s))], ids=str)
def test_every_op_and_its_rules(sample: Sample) -> None:
    """Values and gradients, where parameters and what arrives from above change at each call."""

    def train(captured: bool) -> list[Any]:
        floats = differentiated(sample)
        inputs = [
            nn.Parameter(x.astype(np.float32)) if needs else x for x, needs in zip(sample.inputs, floats, strict=True)
        ]

        def step(upstream: Any) -> Tensor:
            y = sample.op(*inputs, **sample.options)
            y.backward(upstream)
            return y

        step = te.capture(step) if captured else step
        shape, found = np.shape(sample.op(*inputs, **sample.options)), []
        for i in range(4):
            y = step(np.random.default_rng(i).random(shape, dtype=np.float32))
            parameters = [x for x, needs in zip(inputs, floats, strict=True) if needs]
            found.append([bits(y.data), *(bits(p.grad) for p in parameters)])
            for p in parameters:
                p.grad = None
                p.data = p.data * np.float32(0.99)
        return found

    assert train(True) == train(False)


def test_a_recording_lets_go_of_what_it_saw() -> None:
    _, _, step = perceptron()()
    captured = te.capture(step)
    gc.collect()
    gc.disable()
    try:
        for number in range(12):  # recorded on the calls 1, 2 and 10
            captured(*batch(number))
        assert not any(type(each) in (Recorder, Value) for each in gc.get_objects())
    finally:
        gc.enable()
