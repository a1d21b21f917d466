"""Module: a function with parameters, made of other modules. Its parameters and children are simply its attributes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tinygrad_edu import serialize
from tinygrad_edu.autograd import Scope, changes, clock, effect, state
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.interrupts import uninterrupted
from tinygrad_edu.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module learns: it requires a gradient, and the module's `parameters()` finds it."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None, name: str | None = None) -> None:
        super().__init__(data, requires_grad, dtype, name)


class LoadResult(NamedTuple):
    """The names in which a model and a loaded state differ; both empty after a strict load."""

    missing: list[str]
    unexpected: list[str]


def _as_array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # such as PyTorch's bfloat16, which NumPy does not have
        raise TypeError(f"load_state_dict: {name} cannot be made an array ({error}): convert it, as .float()") from None


def _listed(names: list[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return " ".join(", ".join(names[:most]).split()) + more  # on one line, whatever a file calls its tensors


class Module:
    """Base of all layers and models. Assign parameters and modules to attributes in `__init__`, compute in `forward`.

    Calling the module runs `forward`; each op recorded meanwhile knows the module's path, as in `layers.0`.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Parameter(2.0)
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(Tensor(3.0)).item()
    6.0
    """

    training: bool = True
    _settings: ClassVar[int] = 0  # grows whenever an attribute of any module is set
    _structure: ClassVar[int] = 0  # when any module last got or lost a child: what was known of its tree is stale
    _scopes: tuple[int, dict[Module, tuple[str, str]]] = (-1, {})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output. Subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, ...)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`, while every op that it records notes this module's path."""
        scope, root = state.scope.get(), state.root.get()
        try:
            if root is None:
                state.root.set(self)
            state.scope.set((self if root is None else root)._scope_of(self, scope) or scope)
            return self.forward(*args, **kwargs)
        finally:
            state.scope.set(scope)
            state.root.set(root)

    def _scope_of(self, module: Module, caller: Scope | None) -> Scope | None:
        """A call of a module that stands in this one, if it does; the paths of the whole tree are found once."""
        if self._scopes[0] != Module._structure:
            children = ((path, child) for path, child in self.named_modules() if child is not self)
            self._scopes = Module._structure, {child: (path, child.label()) for path, child in children}
        found = ("", self.label()) if module is self else self._scopes[1].get(module)
        return Scope(*found, caller) if found else None

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and deepcopy take along: all but the paths, which the copy finds itself."""
        return {name: value for name, value in vars(self).items() if name != "_scopes"}

    # The tree --------------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        self._refuse_hidden(name, value)
        old = self.__dict__.get(name)
        if isinstance(old, Parameter) and not (value is None or isinstance(value, Parameter)):
            raise TypeError(
                f"{type(self).__name__}.{name} is a parameter; assign an nn.Parameter, or new values to {name}.data"
            )
        Module._settings += 1
        if isinstance(value, Module) or isinstance(old, Module):
            Module._structure = next(clock)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        Module._structure = next(clock)
        object.__delattr__(self, name)

    def _refuse_hidden(self, name: str, value: Any) -> None:
        members = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
        if any(isinstance(x, (Module, Parameter)) for x in members):
            raise TypeError(
                f"{type(self).__name__}.{name}: a plain {type(value).__name__} hides its modules from parameters(): "
                "write nn.ModuleList([...]), or give each an attribute of its own"
            )

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one, by attribute name."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def named_modules(
        self, prefix: str = "", shared: bool = False, _seen: set[Module] | None = None
    ) -> Iterator[tuple[str, Module]]:
        """This module and all inside it with their paths, parents first; a shared one once, or under each path."""
        seen = set() if _seen is None else _seen
        if self not in seen:
            seen.add(self)
            for name, value in vars(self).items():
                self._refuse_hidden(name, value)  # a list that was empty when it was assigned
            yield prefix, self
            for name, child in self.named_children():
                above = set(seen) if shared else seen  # where all paths are wanted, only a circle ends one
                yield from child.named_modules(f"{prefix}.{name}" if prefix else name, shared, above)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, shared: bool = False) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths, such as `layers.0.weight`; a shared one once, or under each name."""
        seen: set[Parameter] = set()
        for path, module in self.named_modules(shared=shared):
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and (shared or value not in seen):
                    seen.add(value)
                    yield f"{path}.{name}" if path else name, value

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def num_parameters(self) -> int:
        """How many numbers the module learns."""
        return sum(parameter.size for parameter in self.parameters())

    # State -----------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of every parameter's values by path; a shared parameter appears under each of its names."""
        return {name: parameter.data.copy() for name, parameter in self.named_parameters(shared=True)}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values into the parameters, as their dtypes have them. Nothing is changed unless everything fits.

        strict: names that are missing or unexpected are an error. A wrong shape, or values that are no real numbers,
            always are.
        """
        return self._take(state_dict, strict, "load_state_dict: the state")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `state_dict()` as a .safetensors file, which PyTorch's tools read too. See `te.save`."""
        serialize.save(path, self.state_dict())

    def load(self, path: str | os.PathLike[str], strict: bool = True) -> LoadResult:
        """Take the parameters from a .safetensors file, of `save` or of a PyTorch model with the same names.

        As `load_state_dict`, but a dtype that the parameter's cannot hold without loss is an error as well; where that
        is meant, write `module.load_state_dict(te.load(path))`. For the errors of a damaged file see `te.load`.
        """
        return self._take(serialize.load(path), strict, f"load: {path}", lossless=True)

    def _take(self, state: Mapping[str, Any], strict: bool, what: str, lossless: bool = False) -> LoadResult:
        """Check all that is in the state, then copy it into the parameters."""
        own = dict(self.named_parameters(shared=True))
        values = {name: _as_array(name, value) for name, value in state.items()}
        result = LoadResult([n for n in own if n not in values], [n for n in values if n not in own])
        both = [(name, values[name], parameter.data) for name, parameter in own.items() if name in values]
        complaints = {
            "missing": result.missing if strict else [],
            "unexpected": result.unexpected if strict else [],
            "wrong shape": [f"{name} {v.shape} instead of {p.shape}" for name, v, p in both if v.shape != p.shape],
            "not real numbers": [f"{name} {v.dtype}" for name, v, _ in both if v.dtype.kind not in "biuf"],
            "wrong dtype": [
                f"{name} {v.dtype} instead of {p.dtype}"
                for name, v, p in both
                if lossless and not np.can_cast(v.dtype, p.dtype)
            ],
        }
        found = [f"{kind}: {_listed(names)}" for kind, names in complaints.items() if names]
        if found:
            raise ShapeError(f"{what} does not fit {type(self).__name__}; {'; '.join(found)}")
        with uninterrupted():
            for _, value, array in both:
                changes.mark(array)
                array[...] = value
        return result

    def train(self, mode: bool = True) -> Module:
        """Switch to training (dropout drops) or, with False, to evaluation."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch to evaluation: dropout does nothing."""
        return self.train(False)

    @effect
    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freeze all parameters with False, thaw them with True."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    # How it shows itself ---------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the parentheses of the module's label, such as `64 → 32`."""
        return ""

    def label(self) -> str:
        """The module in a few words, such as `Linear(64 → 32)`."""
        extra = self.extra_repr()
        return f"{type(self).__name__}({extra})" if extra else type(self).__name__

    def __repr__(self) -> str:
        lines = []
        for path, module in self.named_modules():
            *parents, name = path.split(".") if path else [""]
            indent = "  " * (len(parents) + bool(path))
            number = module.num_parameters()
            count = f": {number:,} parameters" if number else ""
            lines.append(f"{indent}{f'({name}) ' if path else ''}{module.label()}{count}")
        return "\n".join(lines).replace("→", "->").replace("×", "x")  # plain ASCII: a terminal may know no other


class ModuleList(Module):
    """Modules in a list, named 0, 1, 2, ...; it computes nothing by itself."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} holds modules, got {type(module).__name__}; unpack a list with *")
        setattr(self, str(len(self)), module)
        return self

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[Module]:
        return iter([module for _, module in self.named_children()])

    def __getitem__(self, index: Any) -> Any:
        chosen: Any = list(self)[index]
        if isinstance(chosen, Module):
            return chosen
        return Sequential(*chosen) if isinstance(self, Sequential) else ModuleList(chosen)


class Sequential(ModuleList):
    """Modules one after the other: the output of each is the input of the next.

    >>> from tinygrad_edu import nn
    >>> nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    Sequential: 13 parameters
      (0) Linear(2 -> 3): 9 parameters
      (1) ReLU
      (2) Linear(3 -> 1): 4 parameters
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        """Apply all modules in order."""
        for module in self:
            x = module(x)
        return x
