"""The tree of modules: what it finds, saves and loads, how it shows itself, and what the ops recorded in it know."""

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
from tinygrad_edu import GraphError, ShapeError, Tensor, nn


class Block(nn.Module):
    def __init__(self) -> None:
        self.hidden = nn.Linear(2, 2)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.hidden(x))


class Net(nn.Module):
    def __init__(self) -> None:
        self.scale = nn.Parameter([1.0, 2.0])
        self.layers = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2, bias=False))
        self.blocks = nn.ModuleList([Block()])
        self.offset = Tensor([1.0, 1.0])  # a constant: neither parameter nor state

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(x * self.scale)
        for block in self.blocks:
            x = block(x)
        return x + self.offset


class Tied(nn.Module):
    """The output layer shares its weight with the embedding."""

    def __init__(self) -> None:
        self.embedding = nn.Embedding(5, 3)
        self.output = nn.Linear(3, 5, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, ids: Any) -> Tensor:
        return self.output(self.embedding(ids))


class Twice(nn.Module):
    """One module under two names."""

    def __init__(self) -> None:
        self.first = nn.Linear(2, 2)
        self.second = self.first

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


PARAMETERS = {
    "scale": (2,),
    "layers.0.weight": (3, 2),
    "layers.0.bias": (3,),
    "layers.2.weight": (2, 3),
    "blocks.0.hidden.weight": (2, 2),
    "blocks.0.hidden.bias": (2,),
}
ONE = Tensor(np.ones((1, 2), np.float32))


def paths(y: Tensor) -> list[str | None]:
    """The module of each op that made y, each once, in the order in which they ran."""
    found = {step.output.time: step.output.module for step in te.sweep(y, np.ones(y.shape))}
    return list(dict.fromkeys(found[time] for time in sorted(found)))


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


class TestTree:
    def test_parameters_are_found_by_path(self) -> None:
        model = Net()
        assert {name: p.shape for name, p in model.named_parameters()} == PARAMETERS
        assert [id(p) for p in model.parameters()] == [id(p) for _, p in model.named_parameters()]
        assert model.num_parameters() == 23

    def test_modules_are_found_by_path_parents_first(self) -> None:
        model = Net()
        names = [name for name, _ in model.named_modules()]
        inside = ["layers", *(f"layers.{i}" for i in range(3)), "blocks"]
        assert names == ["", *inside, "blocks.0", "blocks.0.hidden", "blocks.0.activation"]
        assert [m for _, m in model.named_modules()] == list(model.modules())
        assert [name for name, _ in model.named_children()] == ["layers", "blocks"]

    def test_a_tied_weight_counts_once_and_has_two_names_in_the_state(self) -> None:
        model = Tied()
        assert [name for name, _ in model.named_parameters()] == ["embedding.weight"]
        assert [name for name, _ in model.named_parameters(shared=True)] == ["embedding.weight", "output.weight"]
        assert model.num_parameters() == 15
        assert set(model.state_dict()) == {"embedding.weight", "output.weight"}

    def test_a_tied_weight_collects_both_gradients(self) -> None:
        model = Tied()
        model([1]).sum().backward()
        rows = model.embedding.weight.data
        expected = np.tile(rows[1], (5, 1))
        expected[1] += rows.sum(axis=0)
        np.testing.assert_allclose(model.embedding.weight.grad.data, expected, rtol=1e-5)

    def test_a_module_in_two_places_counts_once_and_has_two_names_in_the_state(self) -> None:
        model = Twice()
        assert [name for name, _ in model.named_modules()] == ["", "first"]
        assert [name for name, _ in model.named_modules(shared=True)] == ["", "first", "second"]
        assert model.num_parameters() == 6
        assert set(model.state_dict()) == {"first.weight", "first.bias", "second.weight", "second.bias"}

    def test_a_circle_of_modules_ends(self) -> None:
        model = Net()
        model.blocks[0].parent = model
        assert len(list(model.parameters())) == len(PARAMETERS)
        assert set(model.state_dict()) == set(PARAMETERS)

    @pytest.mark.parametrize("kind", [list, tuple, lambda modules: dict(enumerate(modules))])
    def test_a_plain_collection_of_modules_is_refused(self, kind: Callable[[Any], Any]) -> None:
        model = Net()
        with pytest.raises(TypeError, match=r"Net\.more: a plain .* hides its modules.*ModuleList"):
            model.more = kind([nn.ReLU()])
        assert not hasattr(model, "more")

    def test_a_tensor_in_place_of_a_parameter_is_refused(self) -> None:
        layer = nn.Linear(2, 2)
        weight = layer.weight
        with pytest.raises(TypeError, match=r"Linear\.weight is a parameter; assign an nn\.Parameter"):
            layer.weight = Tensor(np.ones((2, 2)))
        assert layer.weight is weight
        layer.weight, layer.bias = nn.Parameter(np.ones((2, 2))), None
        assert [name for name, _ in layer.named_parameters()] == ["weight"]

    def test_a_deleted_module_is_gone(self) -> None:
        model = Net()
        del model.layers
        assert not any(name.startswith("layers") for name, _ in model.named_parameters())

    def test_a_module_without_forward_says_so(self) -> None:
        with pytest.raises(NotImplementedError, match="ModuleList does not define forward"):
            nn.ModuleList()(ONE)

    def test_an_integer_parameter_is_refused(self) -> None:
        with pytest.raises(TypeError, match="only floats have gradients"):
            nn.Parameter([1, 2])


class TestSwitches:
    def test_train_and_eval_reach_every_module(self) -> None:
        model = Net()
        assert model.eval() is model
        assert not any(module.training for module in model.modules())
        assert model.train() is model
        assert all(module.training for module in model.modules())

    def test_eval_of_a_part_leaves_the_rest(self) -> None:
        model = Net()
        model.layers.eval()
        assert [name for name, m in model.named_modules() if not m.training] == [
            "layers",
            *(f"layers.{i}" for i in range(3)),
        ]

    def test_zero_grad(self) -> None:
        model = Net()
        model(ONE).sum().backward()
        assert all(p.grad is not None for p in model.parameters())
        model.zero_grad()
        assert all(p.grad is None for p in model.parameters())

    def test_frozen_parameters_get_no_gradient(self) -> None:
        model = Net()
        assert model.layers.requires_grad_(False) is model.layers
        model(ONE).sum().backward()
        got = {name for name, p in model.named_parameters() if p.grad is not None}
        assert got == {name for name in PARAMETERS if not name.startswith("layers")}
        assert all(p.requires_grad for p in model.requires_grad_().parameters())


class TestState:
    def test_a_round_trip_gives_an_equal_model(self) -> None:
        model, other = Net(), Net()
        assert not equal(model.state_dict(), other.state_dict())
        assert other.load_state_dict(model.state_dict()) == ([], [])
        assert equal(model.state_dict(), other.state_dict())
        np.testing.assert_array_equal(model(ONE).data, other(ONE).data)

    def test_the_state_is_a_copy(self) -> None:
        model = Net()
        state = model.state_dict()
        model.scale.data[...] = 7
        assert state["scale"].tolist() == [1, 2]
        state["scale"][...] = 9
        assert model.scale.tolist() == [7, 7]

    def test_loading_keeps_the_parameters_and_their_dtype(self) -> None:
        model = Net()
        before = [id(p) for p in model.parameters()]
        model.load_state_dict({name: np.ones(shape) for name, shape in PARAMETERS.items()})
        assert [id(p) for p in model.parameters()] == before
        assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}

    def test_loaded_values_are_copied(self) -> None:
        layer = nn.Linear(1, 1, bias=False)
        state = {"weight": np.full((1, 1), 2, np.float32)}
        layer.load_state_dict(state)
        layer.weight.data += 1
        assert (layer.weight.tolist(), state["weight"].tolist()) == ([[3]], [[2]])

    def test_loading_between_forward_and_backward_is_an_error(self) -> None:
        layer = nn.Linear(2, 2)
        loss = layer(Tensor(np.ones((1, 2)), requires_grad=True)).sum()
        layer.load_state_dict(layer.state_dict())
        with pytest.raises(GraphError, match=r"linear \(1, 2\): input 1 was changed in place"):
            loss.backward()

    def test_all_that_does_not_fit_is_listed_and_nothing_changes(self) -> None:
        model = Net()
        before = model.state_dict()
        state = {name: np.zeros(shape) for name, shape in PARAMETERS.items()}
        del state["scale"], state["layers.0.bias"]
        state |= {"extra": np.ones(1), "more": np.ones(1), "layers.0.weight": np.ones((9, 9))}
        state |= {"layers.2.weight": np.ones(4), "blocks.0.hidden.bias": np.array([1j, 2])}
        with pytest.raises(ShapeError) as error:
            model.load_state_dict(state)
        assert str(error.value) == (
            "load_state_dict: the state does not fit Net; missing: scale, layers.0.bias; unexpected: extra, more; "
            "wrong shape: layers.0.weight (9, 9) instead of (3, 2), layers.2.weight (4,) instead of (2, 3); "
            "not real numbers: blocks.0.hidden.bias complex128"
        )
        assert equal(model.state_dict(), before)

    def test_without_strict_the_names_are_returned_and_the_rest_is_loaded(self) -> None:
        model = Net()
        result = model.load_state_dict({"scale": [5.0, 6.0], "extra": np.ones(1)}, strict=False)
        assert result.unexpected == ["extra"]
        assert result.missing == [name for name in PARAMETERS if name != "scale"]
        assert model.scale.tolist() == [5, 6]

    def test_without_strict_a_wrong_shape_is_still_an_error(self) -> None:
        model = Net()
        with pytest.raises(ShapeError, match=r"wrong shape: scale \(3,\) instead of \(2,\)"):
            model.load_state_dict({"scale": np.ones(3), "layers.0.bias": np.ones(3)}, strict=False)
        assert model.scale.tolist() == [1, 2]
        assert model.layers[0].bias.tolist() != [1, 1, 1]

    @pytest.mark.parametrize("kind", [Tied, Twice])
    def test_shared_parameters_load_under_all_their_names(self, kind: type[nn.Module]) -> None:
        model, other = kind(), kind()
        other.load_state_dict(model.state_dict())
        assert equal(model.state_dict(), other.state_dict())

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    @pytest.mark.parametrize("kind", [Net, Tied, Twice])
    def test_copies_are_equal_and_independent(self, kind: Callable[[], Any], duplicate: Callable[[Any], Any]) -> None:
        model = kind()
        x = [[1, 2]] if kind is Tied else ONE
        model(x).sum().backward()
        other = duplicate(model)
        assert repr(other) == repr(model)
        assert equal(other.state_dict(), model.state_dict())
        np.testing.assert_array_equal(other(x).data, model(x).data)
        assert paths(other(x)) == paths(model(x))
        for mine, its in zip(model.parameters(), other.parameters(), strict=True):
            assert isinstance(its, nn.Parameter)
            assert its.requires_grad
            np.testing.assert_array_equal(mine.grad.data, its.grad.data)
            its.data[...] += 1
            assert not np.array_equal(mine.data, its.data)

    def test_a_copy_of_a_changed_tree_finds_its_own_paths(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        model(ONE)
        known = nn.Module._structure
        model.append(nn.Linear(2, 2))
        other = copy.deepcopy(model)
        monkeypatch.setattr(nn.Module, "_structure", known)  # as it may be in the process that loads a pickle
        assert paths(other(ONE)) == ["0", "1", "2"]


class TestPaths:
    def test_each_op_knows_its_module(self) -> None:
        y = Net()(ONE)
        assert paths(y) == ["", "layers.0", "layers.1", "layers.2", "blocks.0.hidden", "blocks.0.activation"]
        assert y.module == ""

    def test_an_op_knows_how_its_module_describes_itself(self) -> None:
        assert nn.Sequential(nn.Linear(2, 3))(ONE).scope[:2] == ("0", "Linear(2 → 3)")
        assert nn.Linear(2, 3)(ONE).scope[:2] == ("", "Linear(2 → 3)")

    def test_each_call_is_told_apart_and_knows_its_caller(self) -> None:
        y = Twice()(ONE)
        scopes = [y.scope, y.inputs[0].scope]
        assert scopes[0] == scopes[1]
        assert scopes[0] is not scopes[1]
        assert scopes[0].caller is scopes[1].caller
        assert scopes[0].caller == ("", "Twice", None)

    def test_outside_of_modules_there_is_none(self) -> None:
        y = nn.Linear(2, 1)(ONE)
        assert (y * 2).module is None

    def test_a_part_called_directly_is_its_own_root(self) -> None:
        model = Net()
        model(ONE)
        assert paths(model.layers(ONE)) == ["0", "1", "2"]
        assert paths(model.blocks[0].hidden(ONE)) == [""]

    def test_a_module_called_twice_has_one_path(self) -> None:
        assert paths(Twice()(ONE)) == ["first"]

    def test_a_module_that_was_never_registered_counts_as_its_caller(self) -> None:
        helper = nn.Linear(2, 2)

        class Outer(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return helper(x)

        assert paths(nn.Sequential(Outer())(ONE)) == ["0"]

    def test_a_module_that_was_deleted_counts_as_its_caller(self) -> None:
        class Outer(nn.Module):
            def __init__(self) -> None:
                self.layer = helper = nn.Linear(2, 2)
                self.forward = lambda x: helper(x)

        model = Outer()
        assert paths(model(ONE)) == ["layer"]
        del model.layer
        assert paths(model(ONE)) == [""]

    def test_changes_of_the_tree_are_noticed(self) -> None:
        model = nn.Sequential(nn.Linear(2, 2))
        assert paths(model(ONE)) == ["0"]
        outer = nn.Sequential(nn.Sequential(), model)
        assert paths(outer(ONE)) == ["1.0"]
        model.append(nn.Sequential(nn.Tanh()))
        assert paths(outer(ONE)) == ["1.0", "1.1.0"]
        model.extra = nn.Sequential(nn.ReLU())
        assert paths(outer(ONE)) == ["1.0", "1.1.0", "1.extra.0"]
        del model.extra
        setattr(model, "0", nn.Sequential(nn.Linear(2, 2)))
        assert paths(outer(ONE)) == ["1.0.0", "1.1.0"]

    def test_an_empty_root_is_still_the_root(self) -> None:
        class Empty(nn.Sequential):
            def forward(self, x: Tensor) -> Tensor:
                return nn.Sequential(nn.Linear(2, 2))(x)

        assert paths(Empty()(ONE)) == [""]

    @pytest.mark.parametrize("broken", ["forward", "extra_repr"])
    def test_an_exception_leaves_no_trace(self, broken: str) -> None:
        class Broken(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x

        def fail(*_: Any) -> str:
            raise KeyError("broken")

        setattr(Broken, broken, fail)
        with pytest.raises(KeyError):
            nn.Sequential(nn.Sequential(Broken()))(ONE)
        assert (ONE * nn.Parameter(1.0)).module is None
        assert paths(nn.Sequential(nn.Linear(2, 2))(ONE)) == ["0"]

    def test_an_exception_caught_inside_leaves_the_caller_where_it_was(self) -> None:
        class Tries(nn.Module):
            def __init__(self) -> None:
                self.layer = nn.Linear(3, 3)

            def forward(self, x: Tensor) -> Tensor:
                with pytest.raises(ShapeError, match="layer"):
                    self.layer(x)
                return x * nn.Parameter(1.0)

        assert paths(nn.Sequential(Tries())(ONE)) == ["0"]

    def test_errors_name_the_module(self) -> None:
        model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(4, 4)))
        with pytest.raises(ShapeError, match=r"linear \(in 1\.0\)"):
            model(ONE)
        with pytest.raises(ShapeError, match=r"linear \(in Linear\(4 → 4\)\)"):
            model[1][0](ONE)

    def test_threads_have_paths_of_their_own(self) -> None:
        together = threading.Barrier(2, timeout=10)
        found: dict[str, list[str | None]] = {}

        class Waits(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                together.wait()
                return x * nn.Parameter(1.0)

        class Holder(nn.Module):
            def __init__(self, name: str) -> None:
                self.name = name
                setattr(self, name, nn.Sequential(nn.Linear(2, 2), Waits(), nn.Linear(2, 2)))

            def forward(self, x: Tensor) -> Tensor:
                return getattr(self, self.name)(x)

        def run(name: str) -> None:
            model = Holder(name)
            found[name] = [path for _ in range(20) for path in paths(model(ONE))]

        threads = [threading.Thread(target=run, args=(name,)) for name in ("left", "right")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {name: [f"{name}.{i}" for i in range(3)] * 20 for name in ("left", "right")}


class TestLists:
    def test_indexing_and_slicing(self) -> None:
        layers = [nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)]
        model = nn.Sequential(*layers)
        assert len(model) == 3
        assert list(model) == layers
        assert model[0] is layers[0]
        assert model[-1] is layers[2]
        with pytest.raises(IndexError):
            model[3]

    @pytest.mark.parametrize("kind", [nn.Sequential, lambda *modules: nn.ModuleList(modules)])
    def test_a_slice_is_a_module_of_the_same_kind(self, kind: Callable[..., Any]) -> None:
        layers = [nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)]
        model = kind(*layers)
        part = model[1:]
        assert type(part) is type(model)
        assert list(part) == layers[1:]
        assert [name for name, _ in part.named_parameters()] == ["1.weight", "1.bias"]
        assert list(model[::-2]) == [layers[2], layers[0]]

    def test_a_slice_of_a_subclass_does_not_need_its_constructor(self) -> None:
        class Named(nn.Sequential):
            def __init__(self, sizes: tuple[int, int], *, name: str) -> None:
                super().__init__(nn.Linear(*sizes), nn.ReLU())
                self.name = name

        np.testing.assert_array_equal(Named((2, 3), name="a")[1:](ONE).data, ONE.data)

    def test_sequential_applies_one_after_the_other(self) -> None:
        model = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
        np.testing.assert_array_equal(model(ONE).data, np.tanh(model[0](ONE).data))
        assert nn.Sequential()(ONE) is ONE

    def test_append_goes_to_the_end(self) -> None:
        model = nn.ModuleList()
        layer = nn.ReLU()
        assert model.append(nn.Tanh()).append(layer) is model
        assert model[1] is layer
        assert [name for name, _ in model.named_children()] == ["0", "1"]

    @pytest.mark.parametrize("wrong", [3, "relu", np.tanh, [nn.ReLU()]])
    def test_only_modules_are_held(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match="Sequential holds modules, got"):
            nn.Sequential(wrong)


class TestRepr:
    def test_a_tree_with_counts(self) -> None:
        assert repr(Net()) == (
            "Net: 23 parameters\n"
            "  (layers) Sequential: 15 parameters\n"
            "    (0) Linear(2 -> 3): 9 parameters\n"
            "    (1) Tanh\n"
            "    (2) Linear(3 -> 2, no bias): 6 parameters\n"
            "  (blocks) ModuleList: 6 parameters\n"
            "    (0) Block: 6 parameters\n"
            "      (hidden) Linear(2 -> 2): 6 parameters\n"
            "      (activation) ReLU"
        )

    @pytest.mark.parametrize(
        ("module", "text"),
        [
            (nn.Embedding(1000, 4), "Embedding(1000 x 4): 4,000 parameters"),
            (nn.LayerNorm(8), "LayerNorm(8): 16 parameters"),
            (nn.Dropout(0.1), "Dropout(p=0.1)"),
            (nn.GELU(), "GELU"),
            (nn.GELU("tanh"), "GELU(tanh)"),
            (nn.Softmax(1), "Softmax(axis=1)"),
            (nn.LeakyReLU(0.2), "LeakyReLU(0.2)"),
            (nn.ELU(), "ELU(1)"),
            (nn.Sequential(), "Sequential"),
        ],
    )
    def test_a_single_module(self, module: nn.Module, text: str) -> None:
        assert repr(module) == text
        assert repr(module).isascii()


def test_a_list_that_was_filled_later_is_refused_when_parameters_are_asked_for() -> None:
    class Growing(nn.Module):
        def __init__(self) -> None:
            self.layers: list[nn.Module] = []
            self.layers.append(nn.Linear(2, 2))

    with pytest.raises(TypeError, match=r"Growing\.layers.*ModuleList"):
        list(Growing().parameters())
