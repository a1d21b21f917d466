"""Optimizers: how a gradient becomes a step. And schedules: how long the step is, as training goes on.

>>> from tinygrad_edu import nn
>>> w = nn.Parameter(1.0)
>>> optimizer = SGD([w], lr=0.1)
>>> (w * w).backward()
>>> optimizer.step()
>>> w
Parameter(0.8, requires_grad=True)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from tinygrad_edu.autograd import changes, effect
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.interrupts import uninterrupted
from tinygrad_edu.nn.module import Module
from tinygrad_edu.ops.blocks import walk
from tinygrad_edu.tensor import Tensor

Group = dict[str, Any]


class Optimizer:
    """Base of all optimizers: parameters in groups, each with its own settings, and an array state for each parameter.

    parameters: tensors, or groups such as `{"params": [...], "lr": 0.01}` whose settings override the defaults.
    """

    def __init__(self, parameters: Iterable[Tensor] | Iterable[Group], **defaults: Any) -> None:
        if isinstance(parameters, Module):
            raise TypeError(f"{type(self).__name__}: expected parameters, got a module: pass module.parameters()")
        if not isinstance(parameters, Iterable):
            raise TypeError(f"{type(self).__name__}: expected a list of parameters, got {type(parameters).__name__}")
        given: list[Any] = [parameters] if isinstance(parameters, (Tensor, Mapping)) else list(parameters)
        if not given:
            raise ValueError(f"{type(self).__name__}: there is nothing to optimize: the list of parameters is empty")
        groups = given if isinstance(given[0], Mapping) else [{"params": given}]
        self.groups: list[Group] = [self._group({**defaults, **group}, defaults) for group in groups]
        self.state: list[dict[str, np.ndarray]] = [{} for group in self.groups for _ in group["params"]]
        self.steps = 0
        everything = [id(p) for group in self.groups for p in group["params"]]
        if len(set(everything)) != len(everything):
            raise ValueError(f"{type(self).__name__}: a parameter appears twice; it would be stepped twice")

    def _group(self, group: Group, defaults: Mapping[str, Any]) -> Group:
        if "params" not in group:
            raise TypeError(
                f'{type(self).__name__}: a group is {{"params": [...], ...}}, got the keys {", ".join(group)}'
            )
        unknown = set(group) - set(defaults) - {"params"}
        if unknown:
            raise TypeError(
                f"{type(self).__name__} has no setting {', '.join(sorted(unknown))}; it knows {', '.join(defaults)}"
            )
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        for p in params:
            if not isinstance(p, Tensor) or not p.is_leaf or p.dtype.kind != "f":
                raise TypeError(f"{type(self).__name__}: can only optimize float leaf tensors, got {p!r:.80}")
        for name in ("lr", "momentum", "weight_decay", "eps"):
            if not (isinstance(group.get(name, 0), Real) and group.get(name, 0) >= 0):
                raise ValueError(f"{type(self).__name__}: {name} must be a number, not negative, got {group[name]!r}")
        return {**group, "params": params}

    def update(self, array: np.ndarray, gradient: np.ndarray, state: dict[str, np.ndarray], group: Group) -> None:
        """Move one parameter's array in place. Subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} does not define update(self, array, gradient, state, group)")

    @effect
    def step(self) -> None:
        """Move every parameter that has a gradient. Ctrl-C takes effect before it or after it, never in between."""
        states = iter(self.state)
        with uninterrupted():
            self.steps += 1
            for group in self.groups:
                for p in group["params"]:
                    state, gradient = next(states), p.grad
                    if gradient is not None:
                        array = p.data
                        changes.mark(array)  # first, so that an update that fails is one too
                        self.update(array, gradient.data, state, group)

    @effect
    def zero_grad(self) -> None:
        """Forget all gradients, so that the next backward pass starts from none."""
        for group in self.groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next step depends on besides parameters and gradients."""
        settings = [{k: v for k, v in group.items() if k != "params"} for group in self.groups]
        arrays = [{k: v.copy() for k, v in state.items()} for state in self.state]
        return {"steps": self.steps, "groups": settings, "state": arrays}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where another optimizer of the same parameters stopped. Nothing is changed unless everything fits."""
        if len(state_dict["state"]) != len(self.state) or len(state_dict["groups"]) != len(self.groups):
            raise ValueError(
                f"load_state_dict: the state has {len(state_dict['state'])} parameters in {len(state_dict['groups'])} "
                f"groups, this optimizer {len(self.state)} in {len(self.groups)}"
            )
        for group, settings in zip(self.groups, state_dict["groups"], strict=True):
            if set(settings) != set(group) - {"params"}:
                raise ValueError(
                    f"load_state_dict: the state of another optimizer, with settings {', '.join(settings)}"
                )
        parameters = [p for group in self.groups for p in group["params"]]
        for i, (p, state) in enumerate(zip(parameters, state_dict["state"], strict=True)):
            for name, value in state.items():
                if np.shape(value) not in (p.shape, ()):
                    raise ShapeError(
                        f"load_state_dict: {name} of parameter {i} is {np.shape(value)}, the parameter {p.shape}"
                    )
        arrays = [{k: np.array(v, order="C") for k, v in state.items()} for state in state_dict["state"]]
        with uninterrupted():
            self.steps, self.state = state_dict["steps"], arrays
            for group, settings in zip(self.groups, state_dict["groups"], strict=True):
                group.update(settings)


class SGD(Optimizer):
    """Gradient descent: w -= lr · v, with v = momentum · v + g (or the look-ahead g + momentum · v with Nesterov).

    weight_decay adds weight_decay · w to g.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 1e-2,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov needs a momentum above 0")
        super().__init__(parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)

    def update(self, array: np.ndarray, gradient: np.ndarray, state: dict[str, np.ndarray], group: Group) -> None:
        """One step of w."""
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * array
        if group["momentum"]:
            if "velocity" in state:
                velocity = state["velocity"]
                velocity *= group["momentum"]
                velocity += gradient
            else:
                velocity = state["velocity"] = np.array(gradient)  # an array, also for a parameter without axes
            gradient = gradient + group["momentum"] * velocity if group["nesterov"] else velocity
        array -= group["lr"] * gradient


class Adam(Optimizer):
    """Steps of about equal length for every weight: w -= lr · m̂ / (√v̂ + eps) (Kingma & Ba 2014, arXiv:1412.6980).

    m and v are running means of g and g²; the hat divides by 1 - βᵗ, since both start at 0. weight_decay adds
    weight_decay · w to g.
    """

    decoupled = False

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if not isinstance(betas, (tuple, list)) or len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{type(self).__name__}: betas must be two numbers, at least 0 and below 1, got {betas}")
        super().__init__(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def update(self, array: np.ndarray, gradient: np.ndarray, state: dict[str, np.ndarray], group: Group) -> None:
        """One step of w."""
        if not state:
            wide = np.result_type(array, np.float32)  # in float16, g² overflows and eps is 0
            state.update(m=np.zeros(array.shape, wide), v=np.zeros(array.shape, wide), t=np.zeros((), int))
        t = state["t"]
        t += 1
        arrays: tuple[np.ndarray, ...] = (array, gradient, state["m"], state["v"])
        if array.flags.c_contiguous:
            arrays = tuple(x.reshape(-1) for x in arrays)
        walk(partial(self._update_block, group, int(t)), *arrays)

    def _update_block(self, group: Group, t: int, w: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray) -> None:
        (beta1, beta2), lr, weight_decay = group["betas"], group["lr"], group["weight_decay"]
        g = g.astype(m.dtype, copy=False)
        if weight_decay and self.decoupled:
            w *= 1 - lr * weight_decay
        elif weight_decay:
            g = g + weight_decay * w
        change = (1 - beta1) * g
        m *= beta1
        m += change
        np.square(g, out=change)
        change *= 1 - beta2
        v *= beta2
        v += change
        root = math.sqrt(1 - beta2**t)  # of the correction of v̂, taken out of the fraction
        np.sqrt(v, out=change)
        change += group["eps"] * root
        np.divide(m, change, out=change)
        change *= lr * root / (1 - beta1**t)
        w -= change


class AdamW(Adam):
    """Adam with weight decay apart from the gradient, w -= lr · weight_decay · w (arXiv:1711.05101)."""

    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients so that together, as one long vector, they are no longer than max_norm.

    Returns the norm that they had.
    A norm that is NaN or infinite is returned as it is, and the gradients are left alone.
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm must not be negative, got {max_norm}")
    return _clip([parameters] if isinstance(parameters, Tensor) else list(parameters), max_norm)


@effect
def _clip(parameters: list[Tensor], max_norm: float) -> float:
    tensors = [p for p in parameters if p.grad is not None]
    squares = [float(np.sum(np.square(p.grad.data, dtype=np.float64))) for p in tensors if p.grad is not None]
    norm = math.sqrt(math.fsum(squares)) if all(map(math.isfinite, squares)) else math.fsum(squares)
    if math.isfinite(norm) and norm > max_norm:
        for p in tensors:
            p.grad = Tensor.wrap(p.grad.data * (max_norm / norm))  # type: ignore[union-attr]
    return norm


# Schedules -----------------------------------------------------------------------------------------------------------


class Schedule:
    """Sets each group's learning rate to its initial one times `factor(step)`.

    Call `step()` after each optimizer step.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.initial = [float(group["lr"]) for group in optimizer.groups]
        self.steps = -1
        self.step()

    def factor(self, step: int) -> float:
        """The share of the initial learning rate at a step, counted from 0. Subclasses define it."""
        raise NotImplementedError

    @effect
    def step(self) -> None:
        """Go on to the next learning rate."""
        self.steps += 1
        for group, initial in zip(self.optimizer.groups, self.initial, strict=True):
            group["lr"] = initial * self.factor(self.steps)

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on later."""
        return {"steps": self.steps, "initial": list(self.initial)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where another schedule stopped."""
        self.initial, self.steps = list(state_dict["initial"]), state_dict["steps"] - 1
        self.step()


class StepLR(Schedule):
    """Multiply the learning rate by gamma every step_size steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size must be at least 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """Gamma to the power of the number of drops so far."""
        return float(self.gamma ** (step // self.step_size))


class CosineLR(Schedule):
    """Rise in a line for warmup_steps (1/n, ..., 1), then fall along half a cosine to `final` (a share) at total_steps.

    The cosine is from Loshchilov & Hutter, "SGDR", arXiv:1608.03983.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> None:
        if not 0 <= warmup_steps <= total_steps or total_steps <= 0:
            raise ValueError(f"CosineLR: needs 0 <= warmup_steps <= total_steps, got {warmup_steps} and {total_steps}")
        self.total_steps, self.warmup_steps, self.final = total_steps, warmup_steps, final
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """From 1 / warmup_steps at step 0 to 1, then down to `final`."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        progress = min(1.0, (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))
