"""The sweep, backward, grad, no_grad, hooks, in-place safety and memory."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tinygrad_edu import GraphError, Tensor, nn, optim
from tinygrad_edu.autograd import Watcher


def leaf(*values: float) -> Tensor:
    return Tensor(list(values), requires_grad=True, dtype=np.float64)


def scalar(value: float) -> Tensor:
    return Tensor(value, requires_grad=True, dtype=np.float64)


class TestSweep:
    def test_visits_each_edge_once_latest_first(self) -> None:
        a = scalar(3)
        b = a + a
        c = a * b
        steps = [(s.op.name, s.output is c, s.index, s.input is a, float(s.contribution)) for s in te.sweep(c)]
        assert steps == [
            ("mul", True, 0, True, 6),
            ("mul", True, 1, False, 3),
            ("add", False, 0, True, 3),
            ("add", False, 1, True, 3),
        ]

    def test_the_contributions_to_a_leaf_add_up_to_its_gradient(self) -> None:
        x = leaf(0.5, -1.0, 2.0)
        loss = ((x * x).exp() / (1 + x**2)).sum() + x.sum()
        total = sum(step.contribution for step in te.sweep(loss) if step.input is x)
        loss.backward()
        np.testing.assert_allclose(total, x.grad.data)

    def test_upstream_is_complete_when_a_step_is_taken(self) -> None:
        x = scalar(2)
        y = x * 3
        z = y * y + y
        upstream = {float(s.upstream) for s in te.sweep(z) if s.output is y}
        assert upstream == {2 * 6 + 1}

    def test_a_diamond_of_many_paths_takes_linear_time(self) -> None:
        x = scalar(1)
        y = x
        for _ in range(200):
            y = y * 0.5 + y * 0.5  # 2^200 paths
        assert len(list(te.sweep(y))) == 200 * 4
        y.backward()
        assert x.grad.item() == 1

    def test_rules_run_only_for_inputs_that_need_them(self) -> None:
        called: list[int] = []

        def rule(number: int, value: object) -> object:
            called.append(number)
            return value

        op = te.Op(
            "pair", np.add, vjp=(lambda g, y, a, b: rule(0, g), lambda g, y, a, b: rule(1, g)), formula=("G", "G")
        )
        te.apply(op, scalar(1), Tensor(2.0)).backward()
        assert called == [0]


class TestBackward:
    def test_the_graph_survives_and_a_second_call_adds_the_same_again(self) -> None:
        x = leaf(1, 2)
        loss = (x**3).sum()
        loss.backward()
        first = x.grad.data.copy()
        loss.backward()
        np.testing.assert_array_equal(x.grad.data, 2 * first)

    def test_x_times_x_has_two_edges(self) -> None:
        x = scalar(3)
        (x * x).backward()
        assert x.grad.item() == 6

    def test_a_leaf_is_its_own_output(self) -> None:
        x = scalar(3)
        x.backward()
        assert x.grad.item() == 1

    def test_gradients_do_not_share_memory(self) -> None:
        a, b = leaf(1, 2), leaf(3, 4)
        seed = np.ones(2)
        (a + b).backward(seed)
        a.grad.data[:] = 7
        seed[:] = 9
        np.testing.assert_array_equal(b.grad.data, [1, 1])

    def test_gradients_that_are_recorded_do_not_share_memory_either(self) -> None:
        a, b = leaf(1, 2), leaf(3, 4)
        (a + b + a * a).sum().backward(create_graph=True)
        a.grad.data[:] = 7
        np.testing.assert_array_equal(b.grad.data, [1, 1])
        b.grad.data[:] = 7

    def test_grad_has_the_dtype_and_shape_of_its_tensor(self) -> None:
        x = Tensor(np.ones((3, 1), np.float32), requires_grad=True)
        (x * np.ones((2, 3, 4))).sum().backward()
        assert x.grad.dtype == np.float32
        assert x.grad.shape == (3, 1)
        np.testing.assert_array_equal(x.grad.data, np.full((3, 1), 8))

    def test_a_tensor_without_history_is_refused(self) -> None:
        with pytest.raises(GraphError, match=r"nothing to differentiate.*requires_grad=True"):
            Tensor(1.0).backward()

    def test_an_output_of_many_elements_needs_a_gradient_of_its_shape(self) -> None:
        y = leaf(1, 2) * 2
        with pytest.raises(GraphError, match=r"mul \(2,\).*Reduce it to a loss"):
            y.backward()
        with pytest.raises(GraphError, match=r"shape \(3,\).*\(2,\)"):
            y.backward(np.ones(3))

    def test_intermediate_gradients_are_kept_on_request(self) -> None:
        x = scalar(2)
        y = x * x
        z = y * 3
        y.retain_grad()
        z.backward()
        assert y.grad.item() == 3
        with pytest.warns(UserWarning, match=r"mul.*retain_grad"):
            assert z.grad is None

    def test_all_gradients_are_kept_with_retain_grads(self) -> None:
        x = scalar(2)
        y = x * x
        z = y * 3
        z.backward(retain_grads=True)
        assert (x.grad.item(), y._grad.item(), z._grad.item()) == (12, 3, 1)

    def test_an_error_leaves_all_gradients_as_they_were(self) -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError

        x, w = scalar(2), scalar(3)
        broken = te.apply(te.Op("broken", lambda x: x, vjp=(fail,), formula=("",)), x)
        with pytest.raises(ZeroDivisionError):
            (broken * w).backward()
        assert w.grad is None

    def test_a_rule_of_the_wrong_shape_is_named(self) -> None:
        op = te.Op("odd", lambda x: x, vjp=(lambda g, y, x: np.ones(5),), formula=("",))
        with pytest.raises(GraphError, match=r"odd.*input 0.*\(5,\).*\(2,\)"):
            te.apply(op, leaf(1, 2)).sum().backward()


class TestGrad:
    def test_leaves_grad_alone(self) -> None:
        x = scalar(3)
        (slope,) = te.grad(x**2, [x])
        assert slope.item() == 6
        assert x.grad is None

    def test_with_respect_to_intermediates_and_to_each_other(self) -> None:
        x = scalar(3)
        y = x * 2
        z = y * x
        assert [g.item() for g in te.grad(z, [x, y, z])] == [12, 3, 1]

    def test_several_outputs_add_up(self) -> None:
        x = scalar(3)
        assert te.grad([x * 2, x * x], [x])[0].item() == 8
        assert te.grad([x * 2, x * x], [x], grad_outputs=[1.0, 10.0])[0].item() == 62

    def test_an_unused_input_is_an_error_or_none(self) -> None:
        x, unused = scalar(3), scalar(4)
        with pytest.raises(GraphError, match="do not depend on input 1"):
            te.grad(x * 2, [x, unused])
        assert te.grad(x * 2, [x, unused], allow_unused=True)[1] is None

    def test_only_the_needed_part_of_the_graph_is_swept(self) -> None:
        x, w = scalar(3), scalar(2)
        deep = w
        for _ in range(50):
            deep = deep * 1.5
        y = x * 2
        assert len(list(te.sweep(y * deep, inputs=[y]))) == 1

    @pytest.mark.parametrize("order", range(1, 6))
    def test_derivatives_of_any_order(self, order: int) -> None:
        x = scalar(0.7)
        y = x.sin()
        for _ in range(order):
            (y,) = te.grad(y, [x], create_graph=True)
        expected = [np.sin, np.cos, lambda v: -np.sin(v), lambda v: -np.cos(v)][order % 4](0.7)
        assert y.item() == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize(
        "fused",
        [
            F.softmax,
            F.log_softmax,
            F.gelu,
            F.layer_norm,
            lambda x: F.gelu(x, "tanh"),
            lambda x: F.cross_entropy(x, [0, 2]),
        ],
    )
    def test_third_derivatives_of_fused_ops(self, fused: object) -> None:
        def second(x: Tensor) -> Tensor:
            (g,) = te.grad((fused(x) ** 2).sum(), [x], create_graph=True)  # type: ignore[operator]
            (h,) = te.grad((g**2).sum(), [x], create_graph=True)
            return h

        assert te.gradcheck(second, Tensor(np.random.default_rng(0).standard_normal((2, 3))), rtol=1e-3)

    def test_create_graph_fills_grad_with_a_graph(self) -> None:
        x = scalar(2)
        (x**3).backward(create_graph=True)
        first = x.grad
        x.grad = None
        first.backward()
        assert (first.item(), x.grad.item()) == (12, 12)

    def test_gradients_can_be_changed_in_place_one_by_one(self) -> None:
        a, b = leaf(1, 2), leaf(3, 4)
        of_a, of_b = te.grad((a + b).sum(), [a, b])
        of_a.data[0] = 7.0
        assert of_b.tolist() == [1, 1]

    def test_what_is_no_tensor_is_refused(self) -> None:
        x = scalar(3)
        for outputs, inputs in ((3.0, [x]), (x, 3.0), ([x, 1.0], [x]), (x, [None])):
            with pytest.raises(TypeError, match="expected a tensor or a list of tensors, got"):
                te.grad(outputs, inputs)
        with pytest.raises(TypeError, match=r"the gradient must be numbers of shape \(\), got 'a'"):
            te.grad(x * 2, [x], "a")

    def test_each_of_several_outputs_needs_its_gradient(self) -> None:
        x = scalar(3)
        with pytest.raises(GraphError, match="2 outputs need one each, got 1"):
            te.grad([x * 2, x * 3], [x], grad_outputs=[1.0])


class TestRecording:
    def test_no_grad_and_enable_grad(self) -> None:
        x = scalar(2)
        with te.no_grad():
            assert not (x * 2).requires_grad
            with te.enable_grad():
                assert (x * 2).requires_grad
            assert not (x * 2).requires_grad
        assert (x * 2).requires_grad

    def test_an_exception_restores_recording(self) -> None:
        with pytest.raises(KeyError), te.no_grad():
            raise KeyError
        assert (scalar(1) * 2).requires_grad

    @pytest.mark.parametrize("decorator", [te.no_grad, te.no_grad()])
    def test_as_a_decorator_with_and_without_parentheses(self, decorator: object) -> None:
        @decorator  # type: ignore[operator,untyped-decorator]
        def f(x: Tensor) -> Tensor:
            return x * 2

        assert not f(scalar(1)).requires_grad
        assert f.__name__ == "f"

    def test_a_decorated_generator_does_not_leak(self) -> None:
        @te.no_grad()
        def values() -> Iterator[bool]:
            for _ in range(2):
                yield (scalar(1) * 2).requires_grad

        for inside in values():
            assert not inside
            assert (scalar(1) * 2).requires_grad

    def test_threads_have_their_own_state(self) -> None:
        inside, results = threading.Barrier(2, timeout=10), {}

        def quiet() -> None:
            with te.no_grad():
                inside.wait()
                results["quiet"] = (scalar(1) * 2).requires_grad
                inside.wait()

        thread = threading.Thread(target=quiet)
        thread.start()
        inside.wait()
        results["loud"] = (scalar(1) * 2).requires_grad
        inside.wait()
        thread.join()
        assert results == {"quiet": False, "loud": True}

    def test_tasks_of_asyncio_have_their_own_state(self) -> None:
        results: dict[str, bool] = {}

        async def quiet() -> None:
            with te.no_grad():
                await asyncio.sleep(0)  # the other task runs meanwhile
                results["quiet"] = (scalar(1) * 2).requires_grad

        async def loud() -> None:
            results["loud"] = (scalar(1) * 2).requires_grad

        async def both() -> None:
            await asyncio.gather(quiet(), loud())

        thread = threading.Thread(target=lambda: asyncio.run(both()))  # this one may have a loop of its own
        thread.start()
        thread.join()
        assert results == {"quiet": False, "loud": True}

    def test_two_threads_differentiate_at_once(self) -> None:
        found: dict[int, float] = {}

        def work(number: int) -> None:
            for _ in range(200):
                x = scalar(number)
                (x * x * x).backward()
                found[number] = x.grad.item()

        threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {1: 3, 2: 12, 3: 27}

    def test_detach_stops_the_gradient(self) -> None:
        x = scalar(3)
        (x * (x * 2).detach()).backward()
        assert x.grad.item() == 6

    def test_integers_cannot_require_a_gradient(self) -> None:
        with pytest.raises(TypeError, match=r"1\.0"):
            Tensor([1, 2], requires_grad=True)

    def test_comparisons_carry_no_gradient(self) -> None:
        x = leaf(1, 2)
        assert not (x > 1).requires_grad
        assert not x.argmax().requires_grad


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_indices_may_be_too_small_to_count_the_rows(dtype: Any) -> None:
    x = Tensor(np.ones((300, 2)), requires_grad=True)
    ids = np.array([[100, 3], [3, 0]], dtype)
    (x[ids] + F.embedding(ids, x)).sum().backward()
    np.testing.assert_array_equal(x.grad.data[[0, 3, 100, 299], 0], [2, 4, 2, 0])


class TestHooks:
    def test_a_hook_sees_and_replaces_the_complete_gradient(self) -> None:
        x = scalar(2)
        y = x * 1
        seen: list[float] = []
        y.register_hook(lambda g: seen.append(g.item()))
        y.register_hook(lambda g: g * 10)
        (y * 3 + y).backward()
        assert seen == [4]
        assert x.grad.item() == 40

    def test_a_hook_on_a_leaf_changes_its_grad(self) -> None:
        x = leaf(1, 2)
        x.register_hook(lambda g: g.clip(0, 3))
        (x**2 + x).sum().backward()
        np.testing.assert_array_equal(x.grad.data, [3, 3])

    @pytest.mark.parametrize("x", [leaf(1), scalar(1)])
    def test_what_a_hook_writes_into_the_gradient_counts(self, x: Tensor) -> None:
        def clear(gradient: Tensor) -> None:
            gradient.data[...] = 0

        x.register_hook(clear)
        (x * 2).backward()
        assert x.grad.item() == 0

    def test_what_a_hook_returns_is_copied(self) -> None:
        x, ours = leaf(1, 2), leaf(3, 4).detach()
        x.register_hook(lambda g: ours)
        x.sum().backward()
        x.grad.data[:] = 7
        np.testing.assert_array_equal(ours.data, [3, 4])

    def test_a_removed_hook_is_silent(self) -> None:
        x = scalar(2)
        remove = x.register_hook(lambda g: g * 0)
        remove()
        (x * 3).backward()
        assert x.grad.item() == 3

    def test_what_would_never_be_called_is_refused(self) -> None:
        with pytest.raises(TypeError, match="a hook is a function"):
            scalar(1).register_hook(3)  # type: ignore[arg-type]
        with pytest.raises(GraphError, match="retain_grad: this tensor does not require"):
            Tensor(1.0).retain_grad()

    def test_a_hook_of_the_wrong_shape_is_refused(self) -> None:
        x = leaf(1, 2)
        x.register_hook(lambda g: g.sum())
        with pytest.raises(te.ShapeError, match=r"hook.*\(\).*\(2,\)"):
            x.sum().backward()


class TestInPlace:
    def test_a_step_between_forward_and_backward_is_an_error_that_names_the_op(self) -> None:
        w = nn.Parameter([1.0, 2.0])
        optimizer = optim.SGD([w], lr=0.1)
        loss = (w * w).sum()
        loss.backward()
        optimizer.step()
        with pytest.raises(GraphError, match=r"mul \(2,\).*changed in place"):
            loss.backward()

    def test_views_are_noticed(self) -> None:
        w = nn.Parameter(np.ones((2, 3)))
        loss = (w.T.reshape(2, 3) * w.detach()).sum()
        nn.init.zeros_(w)
        with pytest.raises(GraphError, match="changed in place"):
            loss.backward()

    def test_new_data_is_noticed(self) -> None:
        w = nn.Parameter([1.0, 2.0])
        loss = (w**2).sum()
        w.data = [3.0, 4.0]
        with pytest.raises(GraphError, match="changed in place"):
            loss.backward()

    def test_a_number_without_axes_is_noticed_too(self) -> None:
        w = scalar(3)
        constant, loss = w.detach(), w * w
        constant[...] = 5.0  # the same memory
        assert w.item() == 5
        with pytest.raises(GraphError, match=r"mul \(\): input 0.*changed in place"):
            loss.backward()

    def test_a_change_of_what_no_rule_reads_is_harmless(self) -> None:
        w = nn.Parameter([1.0, 2.0])
        loss = (w + 1).sum()
        nn.init.zeros_(w)
        loss.backward()
        np.testing.assert_array_equal(w.grad.data, [1, 1])

    def test_a_changed_output_that_the_op_kept_is_noticed(self) -> None:
        x = leaf(1, 2, 4)
        y = F.layer_norm(x)  # without weight and bias, it is what its rule reads as x̂
        y.detach()[0] = 5.0
        with pytest.raises(GraphError, match=r"layer_norm \(3,\): its output was changed in place"):
            (y * leaf(1, 2, 3).detach()).sum().backward()

    def test_changed_ids_are_noticed(self) -> None:
        ids = Tensor([0, 1])
        rows = F.embedding(ids, Tensor(np.ones((3, 2)), requires_grad=True))
        ids[0] = 2
        with pytest.raises(GraphError, match=r"embedding \(2, 2\): input 0 was changed in place"):
            rows.sum().backward()

    def test_an_interrupted_step_is_noticed(self) -> None:
        class Interrupted(optim.SGD):
            def update(self, array: np.ndarray, *rest: object) -> None:
                array[0] = 0
                raise KeyboardInterrupt

        w = nn.Parameter([1.0, 2.0])
        loss = (w * w).sum()
        loss.backward()
        with pytest.raises(KeyboardInterrupt):
            Interrupted([w]).step()
        with pytest.raises(GraphError, match="changed in place"):
            loss.backward()

    def test_assignment_inside_a_graph_is_refused(self) -> None:
        x = leaf(1, 2)
        with pytest.raises(GraphError, match=r"te\.where"):
            x[0] = 5.0
        with pytest.raises(GraphError, match=r"te\.where"):
            (x * 2)[0] = 5.0
        constant = Tensor([1.0, 2.0])
        constant[0] = 5.0
        np.testing.assert_array_equal(constant.data, [5, 2])


class TestSize:
    def test_size_zero(self) -> None:
        x = Tensor(np.zeros((0, 3)), requires_grad=True)
        (x @ np.ones((3, 2))).sum().backward()
        assert x.grad.shape == (0, 3)


class TestWatchers:
    class Notes(Watcher):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def applied(self, op: Any, inputs: Any, options: Any, output: Any) -> None:
            self.seen.append(f"{op.name} {output.item():g}")

        def pulled_back(self, step: Any) -> None:
            self.seen.append(f"{step.op.name}/{step.index} {step.contribution:g}")

    def test_see_every_op_forward_and_backward(self) -> None:
        x = scalar(3)
        with self.Notes() as outer, self.Notes() as inner:
            (x * x).exp().log().backward()
            Tensor(2.0) * 2.0  # not recorded, and seen all the same
        x * x  # too late
        assert outer.seen == inner.seen
        assert outer.seen == [
            "mul 9",
            "exp 8103.08",
            "log 9",
            "log/0 0.00012341",
            "exp/0 1",
            "mul/0 3",
            "mul/1 3",
            "mul 4",
        ]

    def test_see_their_own_thread_only_and_close_on_an_error(self) -> None:
        notes = self.Notes()

        def fail() -> None:
            with notes:
                worker = threading.Thread(target=lambda: Tensor(2.0) * 2.0)
                worker.start()
                worker.join()
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        Tensor(2.0) * 2.0
        assert notes.seen == []
