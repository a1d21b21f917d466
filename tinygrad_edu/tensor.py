"""Tensor: an array that remembers how it was made. Data and operators; the mathematics is in ops/.

Arrays speak NumPy (names, axes, broadcasting, dtypes), gradients speak PyTorch. `apply` is the only place where
anything is recorded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NoReturn, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinygrad_edu import autograd
from tinygrad_edu.autograd import Scope, changes, clock, effect, state
from tinygrad_edu.errors import GraphError, InputError, ShapeError
from tinygrad_edu.hints import explained, unknown_option
from tinygrad_edu.ops import elementwise, linalg, movement, reductions
from tinygrad_edu.ops.movement import Axis
from tinygrad_edu.ops.op import Op
from tinygrad_edu.origins import note_cut

Operand: TypeAlias = "Tensor | np.ndarray | np.generic | float | int | bool"
Index: TypeAlias = Any

# Asked for each op, so bound once.
_recording, _scope, _watchers = state.recording.get, state.scope.get, state.watchers.get
_NO_OPTIONS: dict[str, Any] = {}
_new = object.__new__
_PLAIN = frozenset({float, int, bool, type(None)})
_FLOATS = frozenset({np.float16, np.float32, np.float64})  # as scalars: quicker to ask than for the dtype


def _operator(op: Op, reflected: bool = False) -> Callable[[Tensor, Operand], Tensor]:
    """The method behind `x + other` (reflected: `other + x`). What is no operand is left to Python to try."""

    def apply_to(self: Tensor, other: Operand) -> Tensor:
        return apply(op, self, other) if isinstance(other, _OPERANDS) else _refused(op, other)

    def apply_reflected(self: Tensor, other: Operand) -> Tensor:
        return apply(op, other, self) if isinstance(other, _OPERANDS) else _refused(op, other)

    return apply_reflected if reflected else apply_to


def _refused(op: Op, other: Any) -> Any:
    if isinstance(other, (list, tuple)):  # Python would try to repeat it
        raise InputError(f"{op.name}: a {type(other).__name__} does not compute: write Tensor({other!r:.60})")
    return NotImplemented


class Tensor:
    """An n-dimensional array in a computation graph.

    data: numbers, nested lists, an array or a Tensor; copied. Python floats become float32, an array keeps its dtype.
    requires_grad: whether `backward()` shall compute the gradient of this tensor; floats only.
    name: what pictures and errors call it.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = (x**2).sum()
    >>> y.backward()
    >>> x.grad
    Tensor([2., 4.])
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_grad",
        "arrays",
        "hooks",
        "inputs",
        "name",
        "op",
        "options",
        "requires_grad",
        "retains_grad",
        "saved",
        "scope",
        "time",
    )

    _data: Any  # an array, or the NumPy scalar that an op on 0-d arrays returns
    _grad: Tensor | None
    requires_grad: bool
    op: Op | None  # what made it; None for a leaf
    inputs: tuple[Any, ...]
    arrays: Sequence[Any]
    options: dict[str, Any]
    saved: tuple[Any, ...]
    time: int
    scope: Scope | None
    name: str | None
    hooks: tuple[Callable[[Any], Any], ...]
    retains_grad: bool
    show_graph: ClassVar[Callable[[Tensor], dict[str, str]] | None] = None  # how notebooks show a graph; set by viz

    def __init__(
        self,
        data: ArrayLike | Tensor,
        requires_grad: bool = False,
        dtype: DTypeLike | None = None,
        name: str | None = None,
    ) -> None:
        array = _to_array(data, dtype)
        self._fill(array if array.ndim else array[()])  # NumPy computes ten times as fast with scalars
        for watcher in _watchers():
            watcher.made(self, data)
        self.name = name
        self.requires_grad_(requires_grad)

    def _fill(
        self,
        data: Any,
        requires_grad: bool = False,
        op: Op | None = None,
        inputs: tuple[Any, ...] = (),
        arrays: Sequence[Any] = (),
        options: dict[str, Any] = _NO_OPTIONS,
        saved: tuple[Any, ...] = (),
        scope: Scope | None = None,
    ) -> Tensor:
        """Every slot gets its value here."""
        self._data = data
        self.requires_grad = requires_grad
        self.op = op
        self.inputs = inputs
        self.arrays = arrays
        self.options = options
        self.saved = saved
        self.scope = scope
        self.time = next(clock)
        self.name = self._grad = None
        self.hooks = ()
        self.retains_grad = False
        return self

    @staticmethod
    def wrap(array: Any) -> Tensor:
        """A constant tensor around an array that is not copied; a tensor is returned as it is."""
        return array if isinstance(array, Tensor) else _new(Tensor)._fill(array)

    @staticmethod
    def __apply_op__(op: Op, inputs: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
        return apply(op, *inputs, **options)

    # What it is ------------------------------------------------------------------------------------------------------

    @property
    def data(self) -> np.ndarray:
        """The array itself, not a copy. What is written to it is not recorded; `te.lock_arrays()` catches it."""
        if not isinstance(self._elements(), np.ndarray):
            self._data = np.asarray(self._data)
        array: np.ndarray = self._data
        return array

    @data.setter
    def data(self, value: ArrayLike | Tensor) -> None:
        array = np.asarray(value._data if isinstance(value, Tensor) else value, dtype=self.dtype)
        if array.shape != self.shape:
            raise ShapeError(f"data: the tensor has shape {self.shape}, the new data {array.shape}: they must be equal")
        self._data = array
        changes.mark(array)

    def _elements(self) -> Any:
        """The array or scalar, for somebody who looks at it outside of any op."""
        for watcher in _watchers():
            watcher.read(self)
        return self._data

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        shape: tuple[int, ...] = self._data.shape
        return shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._data.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self._data.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        dtype: np.dtype[Any] = self._data.dtype
        return dtype

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user rather than recorded by an op."""
        return self.op is None

    @property
    def module(self) -> str | None:
        """The path of the module call that made it, such as `layers.0`; None outside of any module."""
        return None if self.scope is None else self.scope.path

    def numpy(self) -> np.ndarray:
        """The array itself, as `data`."""
        return self.data

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.size != 1:
            raise ShapeError(f"item: a tensor of shape {self.shape} has {self.size} elements, not one; index it first")
        return self._elements().item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self._elements().tolist()

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len: a tensor without axes has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"only an integer tensor can be an index, not {self.dtype}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is ambiguous: use .data.any() or .data.all()"
            )
        return bool(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __str__(self) -> str:
        return str(self.data)

    def __repr__(self) -> str:
        notes = [np.array2string(self.data, separator=", ", prefix=f"{type(self).__name__}(")]
        notes += [f"dtype={self.dtype}"] if self.dtype not in (np.float32, np.int64, np.bool_) else []
        notes += [f"name={self.name!r}"] if self.name else []
        notes += ["requires_grad=True"] if self.requires_grad and self.is_leaf else []
        notes += [f"made by {autograd.describe(self)}"] if self.op is not None else []
        return f"{type(self).__name__}({', '.join(notes)})"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        """The array for another library, sharing its memory: `torch.from_dlpack(tensor)`."""
        if self.requires_grad:
            raise BufferError("the gradient would end at the other library; pass tensor.detach()")
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[Any, int]:
        """Where the array is: in the computer's own memory."""
        return self.data.__dlpack_device__()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str] | None:
        """What a notebook shows: the graph of what was computed, if viz is imported; else the text."""
        show = type(self).show_graph
        return None if show is None or self.op is None else show(self)

    def __reduce__(self) -> Any:
        """A copy of a leaf, by copy, deepcopy or pickle: its value, gradient and name, but not its hooks."""
        if self.op is not None:
            raise GraphError(
                f"{autograd.describe(self)} was recorded, and a copy would lose how it was made: copy x.detach(), or "
                "only the leaves, such as a model's parameters"
            )
        grad = None if self._grad is None else Tensor(self._grad)
        values = (type(self), self.data.copy(), self.requires_grad, self.name, grad)
        return _rebuild, values, getattr(self, "__dict__", None)

    __hash__ = object.__hash__

    # Gradients -------------------------------------------------------------------------------------------------------

    @property
    def grad(self) -> Tensor | None:
        """dL/d self after `backward()`; None before, and for tensors that do not keep it."""
        for watcher in _watchers():
            watcher.asked(self)
        if self._grad is None and self.op is not None and not self.retains_grad:
            warnings.warn(
                f"reading .grad of an intermediate tensor ({autograd.describe(self)}): it is kept only on request. "
                "Call retain_grad() on it before backward(), or backward(retain_grads=True) to keep all of them.",
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    @effect
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            value = value if isinstance(value, Tensor) else Tensor(value, dtype=self.dtype)
            if value.shape != self.shape:
                raise ShapeError(
                    f"grad: the tensor has shape {self.shape}, the gradient {value.shape}: they must be equal"
                )
        self._grad = value

    @effect
    def accumulate(self, gradient: Any) -> None:
        """Add to `.grad`."""
        if self._grad is None:
            # Recorded gradients share memory as any ops do, so each .grad gets a copy.
            self._grad = gradient.astype(gradient.dtype) if isinstance(gradient, Tensor) else Tensor.wrap(gradient)
        else:
            self._grad = Tensor.wrap(gradient) + self._grad

    def backward(
        self, gradient: ArrayLike | Tensor | None = None, retain_grads: bool = False, create_graph: bool = False
    ) -> None:
        """Add dL/dx to the `.grad` of every leaf x with requires_grad that this tensor was computed from.

        gradient: dL/d self; 1 by default, for a tensor of one element.
        retain_grads: keep the gradients of all intermediate tensors too.
        create_graph: record the backward pass itself, so that gradients can be differentiated again. Each `.grad` is
            then part of a graph that begins at its own tensor, and freed only with both: te.grad makes no such circle.

        The graph survives: it can be drawn afterwards, and a second call adds the same gradients once more.
        """
        autograd.backward(self, gradient, retain_grads, create_graph)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask (or stop asking) for the gradient of this leaf, in place."""
        if requires_grad and self.dtype.kind != "f":
            raise InputError(
                f"only floats have gradients, and this tensor is {self.dtype}: write 1.0 instead of 1, or pass "
                "dtype=float"
            )
        if not requires_grad and self.op is not None:
            raise GraphError(f"{autograd.describe(self)} was recorded; use detach() for a tensor without its history")
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate tensor at the next `backward()`."""
        if not self.requires_grad:
            raise GraphError("retain_grad: this tensor does not require a gradient, so none will arrive")
        self.retains_grad = True

    def detach(self) -> Tensor:
        """The same array without its history: a constant to the graph."""
        self._data = np.asarray(self._data)  # an array from now on, which both share
        output = apply(elementwise.constant, self)
        note_cut(elementwise.constant, (self,), output)  # for te.why: where the history ended
        return output

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `hook(gradient)` when the gradient of this tensor is complete; what it returns replaces it.

        Returns a function that removes the hook.
        """
        if not self.requires_grad:
            raise GraphError("register_hook: this tensor does not require a gradient, so none will arrive")
        if not callable(hook):
            raise TypeError(f"register_hook: a hook is a function of the gradient, got {type(hook).__name__}")

        def call(gradient: Any) -> Any:
            seen = Tensor.wrap(gradient)
            changed = hook(seen)
            if changed is None:
                return gradient if seen is gradient else seen._data  # of a scalar, .data has made an array
            if np.shape(changed) != gradient.shape:
                raise ShapeError(f"a hook returned shape {np.shape(changed)} for a gradient of shape {gradient.shape}")
            return changed if isinstance(gradient, Tensor) else np.array(changed, dtype=gradient.dtype)

        def remove() -> None:
            self.hooks = tuple(other for other in self.hooks if other is not call)

        self.hooks += (call,)
        return remove

    # Arithmetic ------------------------------------------------------------------------------------------------------

    __add__, __radd__ = _operator(elementwise.add), _operator(elementwise.add, reflected=True)
    __sub__, __rsub__ = _operator(elementwise.sub), _operator(elementwise.sub, reflected=True)
    __mul__, __rmul__ = _operator(elementwise.mul), _operator(elementwise.mul, reflected=True)
    __truediv__, __rtruediv__ = _operator(elementwise.div), _operator(elementwise.div, reflected=True)
    __pow__, __rpow__ = _operator(elementwise.pow), _operator(elementwise.pow, reflected=True)
    __lt__, __le__ = _operator(elementwise.less), _operator(elementwise.less_equal)
    __gt__, __ge__ = _operator(elementwise.greater), _operator(elementwise.greater_equal)
    __eq__ = _operator(elementwise.equal)  # type: ignore[assignment]
    __ne__ = _operator(elementwise.not_equal)  # type: ignore[assignment]

    def __matmul__(self, other: Operand) -> Tensor:
        return _operator(linalg.product_op(self, other))(self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return _operator(linalg.product_op(other, self), reflected=True)(self, other)

    def __neg__(self) -> Tensor:
        return apply(elementwise.neg, self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return apply(elementwise.abs, self)

    # Element by element ----------------------------------------------------------------------------------------------

    def exp(self) -> Tensor:
        """e to the power of each element."""
        return apply(elementwise.exp, self)

    def expm1(self) -> Tensor:
        """exp(x) - 1, exact for small x."""
        return apply(elementwise.expm1, self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return apply(elementwise.log, self)

    def log1p(self) -> Tensor:
        """log(1 + x), exact for small x."""
        return apply(elementwise.log1p, self)

    def sqrt(self) -> Tensor:
        """The square root."""
        return apply(elementwise.sqrt, self)

    def square(self) -> Tensor:
        """x times x."""
        return apply(elementwise.square, self)

    def abs(self) -> Tensor:
        """The absolute value; its gradient at 0 is 0."""
        return apply(elementwise.abs, self)

    def sin(self) -> Tensor:
        """The sine of radians."""
        return apply(elementwise.sin, self)

    def cos(self) -> Tensor:
        """The cosine of radians."""
        return apply(elementwise.cos, self)

    def tanh(self) -> Tensor:
        """The hyperbolic tangent."""
        return apply(elementwise.tanh, self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x)), without overflow."""
        return apply(elementwise.sigmoid, self)

    def relu(self) -> Tensor:
        """max(x, 0); its gradient at 0 is 0."""
        return apply(elementwise.relu, self)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """Each element moved into [min, max]; the gradient passes where nothing was moved, the ends included."""
        return apply(elementwise.clip, self, min=min, max=max)

    def masked_fill(self, mask: Operand, value: float) -> Tensor:
        """`value` where the boolean mask is True, self elsewhere."""
        return apply(elementwise.masked_fill, self, _mask(mask, "masked_fill"), value=value)

    def astype(self, dtype: DTypeLike) -> Tensor:
        """The same values in another dtype; the gradient comes back in the old one."""
        try:
            return apply(elementwise.astype, self, dtype=np.dtype(dtype))
        except TypeError:
            raise InputError(f"astype: {dtype!r} is no dtype of real numbers or booleans") from None

    # Along an axis ---------------------------------------------------------------------------------------------------
    # `other` catches PyTorch's dim= and keepdim=, which Python would refuse without saying what they are called here.

    def sum(self, axis: Axis = None, keepdims: bool = False, **other: NoReturn) -> Tensor:
        """The sum over an axis, several, or all."""
        if other:
            raise unknown_options("sum", other)
        return apply(movement.sum, self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False, **other: NoReturn) -> Tensor:
        """The mean over an axis, several, or all."""
        if other:
            raise unknown_options("mean", other)
        return apply(reductions.mean, self, axis=axis, keepdims=keepdims)

    def var(self, axis: Axis = None, ddof: float = 0, keepdims: bool = False, **other: NoReturn) -> Tensor:
        """The variance, Σ(x - mean)² / (n - ddof)."""
        if other:
            raise unknown_options("var", other)
        return apply(reductions.var, self, axis=axis, keepdims=keepdims, ddof=float(ddof))

    def std(self, axis: Axis = None, ddof: float = 0, keepdims: bool = False, **other: NoReturn) -> Tensor:
        """The standard deviation; its gradient at 0 is 0."""
        if other:
            raise unknown_options("std", other)
        return apply(reductions.std, self, axis=axis, keepdims=keepdims, ddof=float(ddof))

    def max(self, axis: Axis = None, keepdims: bool = False, **other: NoReturn) -> Tensor:
        """The largest element; elements that tie share the gradient equally."""
        if other:
            raise unknown_options("max", other)
        return apply(reductions.max, self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False, **other: NoReturn) -> Tensor:
        """The smallest element; elements that tie share the gradient equally."""
        if other:
            raise unknown_options("min", other)
        return apply(reductions.min, self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False, **other: NoReturn) -> Tensor:
        """Where the largest element is: integers, without a gradient."""
        if other:
            raise unknown_options("argmax", other)
        return apply(reductions.argmax, self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False, **other: NoReturn) -> Tensor:
        """Where the smallest element is: integers, without a gradient."""
        if other:
            raise unknown_options("argmin", other)
        return apply(reductions.argmin, self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False, **other: NoReturn) -> Tensor:
        """The product along an axis, several, or all; zeros have their right gradient."""
        if other:
            raise unknown_options("prod", other)
        if isinstance(axis, int):
            return apply(reductions.prod, self, axis=axis, keepdims=keepdims)
        result = self
        for one in sorted(movement.normalize_axes(axis, self.ndim), reverse=True):
            result = result.prod(one, keepdims)
        return result

    def cumsum(self, axis: int | None = None, **other: NoReturn) -> Tensor:
        """The running sum along an axis, or of the flattened tensor."""
        if other:
            raise unknown_options("cumsum", other)
        return self.reshape(-1).cumsum(0) if axis is None else apply(reductions.cumsum, self, axis=axis)

    # Shapes ----------------------------------------------------------------------------------------------------------

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one axis may be -1."""
        return apply(movement.reshape, self, shape=_shape(shape))

    def transpose(self, *axes: Any) -> Tensor:
        """Permute the axes; without arguments, reverse them."""
        order = _shape(axes) if axes and axes[0] is not None else tuple(range(self.ndim))[::-1]
        return apply(movement.transpose, self, axes=order)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Exchange two axes."""
        return apply(movement.swapaxes, self, axis1=axis1, axis2=axis2)

    @property
    def T(self) -> Tensor:
        """All axes reversed."""
        return self.transpose()

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged: the transpose of each matrix."""
        if self.ndim < 2:
            raise ShapeError(f"mT: a matrix has at least two axes, this tensor has shape {self.shape}")
        return self.swapaxes(-1, -2)

    def squeeze(self, axis: Axis = None, **other: NoReturn) -> Tensor:
        """Remove axes of length 1."""
        if other:
            raise unknown_options("squeeze", other)
        return apply(movement.squeeze, self, axis=axis)

    def expand_dims(self, axis: int | tuple[int, ...]) -> Tensor:
        """Insert axes of length 1."""
        return apply(movement.expand_dims, self, axis=axis)

    def broadcast_to(self, shape: Sequence[int]) -> Tensor:
        """Stretch axes of length 1, and add axes in front, up to `shape`."""
        return apply(movement.broadcast_to, self, shape=tuple(shape))

    def flip(self, axis: Axis = None, **other: NoReturn) -> Tensor:
        """Reverse the order of the elements along axes."""
        if other:
            raise unknown_options("flip", other)
        return apply(movement.flip, self, axis=axis)

    def roll(self, shift: Any, axis: Axis = None, **other: NoReturn) -> Tensor:
        """Shift elements along axes; what leaves at one end comes in at the other."""
        if other:
            raise unknown_options("roll", other)
        return apply(movement.roll, self, shift=shift, axis=axis)

    def pad(self, pad_width: Any, constant_values: float = 0) -> Tensor:
        """Surround by a constant: pad_width is (before, after) for each axis, as in np.pad."""
        return apply(movement.pad, self, pad_width=pad_width, value=constant_values)

    def repeat(self, repeats: Any, axis: int | None = None) -> Tensor:
        """Each element `repeats` times in a row, along an axis or flattened."""
        return (
            self.reshape(-1).repeat(repeats, 0)
            if axis is None
            else apply(movement.repeat, self, repeats=repeats, axis=axis)
        )

    def split(self, indices_or_sections: Any, axis: int = 0, **other: NoReturn) -> list[Tensor]:
        """Cut into equal parts, or at the given indices, as np.split."""
        if other:
            raise unknown_options("split", other)
        if not -self.ndim <= axis < self.ndim:
            raise ShapeError(f"split: shape {self.shape} has no axis {axis}")
        try:
            cuts = np.split(np.arange(self.shape[axis]), indices_or_sections)
        except ValueError:
            raise ShapeError(
                f"split: axis {axis} of shape {self.shape} does not divide into {indices_or_sections} equal parts: "
                "pass the indices to cut at instead"
            ) from None
        lead = (slice(None),) * (axis % self.ndim)
        pieces = [slice(cut[0], cut[-1] + 1) if len(cut) else slice(0, 0) for cut in cuts]
        return [self[lead + (piece,)] for piece in pieces]

    def tril(self, k: int = 0, **other: NoReturn) -> Tensor:
        """The lower triangle of each matrix, zeros above diagonal k."""
        if other:
            raise unknown_options("tril", other)
        return apply(movement.tril, self, k=k)

    def triu(self, k: int = 0, **other: NoReturn) -> Tensor:
        """The upper triangle of each matrix, zeros below diagonal k."""
        if other:
            raise unknown_options("triu", other)
        return apply(movement.triu, self, k=k)

    def __getitem__(self, index: Index) -> Tensor:
        return apply(movement.getitem, self, index=_plain_index(index))

    def __setitem__(self, index: Index, value: Operand) -> None:
        if self.op is not None or (self.requires_grad and _recording()) or getattr(value, "requires_grad", False):
            raise GraphError(
                "assigning into a tensor that is part of a graph would make its gradient wrong: build a new one with "
                "te.where or te.concatenate, or assign under te.no_grad() to a leaf"
            )
        if not self.data.flags.writeable:
            raise GraphError("cannot assign: the array is read-only, or belongs to a graph inside te.lock_arrays()")
        try:
            self.data[_plain_index(index)] = value._data if isinstance(value, Tensor) else value
        except (ValueError, IndexError) as error:
            kind = IndexError if isinstance(error, IndexError) else ShapeError
            raise kind(f"cannot assign {np.shape(value)} into a tensor of shape {self.shape}: {error}") from None
        changes.mark(self.data)

    # NumPy's functions and array * tensor ----------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        """np.exp(tensor), array * tensor: the op with the ufunc's meaning, recorded."""
        if out is not None:
            raise TypeError(
                f"np.{ufunc.__name__} cannot write a Tensor into an array: take its array, as in "
                "w.data -= learning_rate * w.grad.data, or make a new tensor"
            )
        if method == "__call__" and ufunc in _UFUNCS and not kwargs:
            return apply(_UFUNCS[ufunc], *inputs) if ufunc is not np.matmul else linalg.product(*inputs)
        call = ufunc if method == "__call__" else getattr(ufunc, method)
        return _on_arrays(call, inputs, kwargs, ufunc.__name__ + ("" if call is ufunc else f".{method}"))

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """np.sum(tensor), np.concatenate(tensors): the method or function of that name, recorded."""
        if function in _FUNCTIONS:
            return _FUNCTIONS[function](*args, **kwargs)
        if isinstance(args[0] if args else None, Tensor) and function.__name__ in _METHODS:
            return getattr(args[0], function.__name__)(*args[1:], **kwargs)
        return _on_arrays(function, args, kwargs, function.__name__)


# Recording -----------------------------------------------------------------------------------------------------------


def apply(op: Op, *inputs: Any, **options: Any) -> Tensor:
    """Run an op on the arrays of its inputs, and record how, if a gradient may be wanted.

    An array becomes a constant tensor; a Python number stays one, so that it does not change the dtype.
    """
    arrays, requires_grad = [], False
    for x in inputs:
        if isinstance(x, Tensor):
            arrays.append(x._data)
            requires_grad = requires_grad or x.requires_grad
        elif type(x) in _PLAIN:
            arrays.append(x)
        else:
            return apply(op, *(_operand(op, x) for x in inputs), **options)
    if options:
        options = _constants(op, options)
    else:
        options = _NO_OPTIONS
    try:
        result = op.forward(*arrays, **options)
        saved = ()
        if op.saves:
            result, saved = result
        kind = "f" if type(result) in _FLOATS else result.dtype.kind
    except (ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise _explained(op, arrays, options, error) from None
    if kind not in "biuf" or (op.saves and not (isinstance(saved, tuple) and len(saved) == len(op.saves))):
        wrong = TypeError(f"forward must return an array of real numbers, and saved ones {op.saves}")
        raise _explained(op, arrays, options, wrong)

    if requires_grad and kind == "f" and _recording() and op.differentiable:
        output = _new(Tensor)._fill(result, True, op, inputs, arrays, options, saved, _scope())
    else:
        output = Tensor.wrap(result)
    for watcher in _watchers():
        watcher.applied(op, inputs, options, output)
    return output


def _operand(op: Op, x: Any) -> Tensor | float | None:
    """What an op takes besides tensors: an array, which becomes a constant; a Python number or None, which stays."""
    if x is None or isinstance(x, Tensor):
        return x
    if isinstance(x, (np.ndarray, np.generic)):
        if x.dtype.kind not in "biuf":
            raise InputError(
                f"{op.name}{here()}: expected real numbers or booleans, got an array of {x.dtype} {x.shape}: "
                "convert it first, as in x.astype(np.float32)"
            )
        return Tensor.wrap(np.asarray(x) if isinstance(x, np.ndarray) else x)  # of a subclass, the plain array
    if isinstance(x, (int, float)):
        return x if type(x) in _PLAIN else int(x) if isinstance(x, int) else float(x)
    advice = f": write Tensor({x!r:.60})" if isinstance(x, (list, tuple)) else ": convert it to a Tensor first"
    raise InputError(
        f"{op.name}{here()}: expected tensors, arrays or numbers, got {type(x).__name__} {x!r:.60}{advice}"
    )


def _constants(op: Op, options: dict[str, Any]) -> dict[str, Any]:
    """The options with plain arrays in place of tensors."""
    for name, value in options.items():
        if isinstance(value, Tensor):
            if value.requires_grad and _recording():
                raise GraphError(f"{op.name}: {name} is a constant, no gradient flows to it; pass an array")
            options[name] = value._data
    return options


def _explained(op: Op, values: list[Any], options: dict[str, Any], error: Exception) -> Exception:
    return explained(op, values, options, error, here())


def here() -> str:
    """` (in layers.0)` inside of a module call, as errors show it; else nothing."""
    scope = _scope()
    return f" (in {scope.path or scope.label})" if scope is not None else ""


def unknown_options(name: str, given: Mapping[str, Any]) -> InputError:
    """The error of a function that does not have these options, such as PyTorch's dim=."""
    return InputError(f"{name}{here()}: {unknown_option(given)}")


# What PyTorch calls it -> what NumPy, and so we, call it.
_OTHER_NAMES = {
    "clone": "Tensor(x)",
    "dim": "x.ndim",
    "double": "x.astype(np.float64)",
    "expand": "x.broadcast_to(shape)",
    "float": "x.astype(np.float32)",
    "long": "x.astype(np.int64)",
    "numel": "x.size",
    "permute": "x.transpose(*axes)",
    "softmax": "functional.softmax(x, axis=-1)",
    "t": "x.T",
    "to": "x.astype(dtype); there is one device",
    "unsqueeze": "x.expand_dims(axis)",
    "view": "x.reshape(*shape)",
}


class _OtherName:
    """Tells whoever reads this attribute what it is called here.

    A `__getattr__` would do the same, but Python reads every attribute of a class that has one more slowly.
    """

    def __init__(self, name: str, ours: str) -> None:
        self.name, self.ours = name, ours

    def __get__(self, tensor: Tensor | None, owner: type[Tensor]) -> Any:
        raise AttributeError(f"a Tensor has no attribute {self.name!r}: the name here is {self.ours}")


for _name, _ours in _OTHER_NAMES.items():
    setattr(Tensor, _name, _OtherName(_name, _ours))


# Arguments -----------------------------------------------------------------------------------------------------------


def _to_array(data: Any, dtype: DTypeLike | None) -> np.ndarray:
    """A new array; floats that come from Python are float32 unless told otherwise."""
    if isinstance(data, Tensor):
        data = data._data
    elif isinstance(data, (list, tuple)) and any(isinstance(x, Tensor) for x in data):
        raise InputError("Tensor: a list of tensors is joined with te.stack or te.concatenate, which keep the graph")
    try:
        array = np.array(data, dtype=dtype)
    except ValueError:
        raise ShapeError(f"Tensor: the rows have different lengths, or an element is no number: {data!r:.60}") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"Tensor: expected real numbers or booleans, got {array.dtype} ({data!r:.60})")
    plain = not isinstance(data, (np.ndarray, np.generic))
    return array.astype(np.float32) if plain and dtype is None and array.dtype == np.float64 else array


def _rebuild(
    kind: type[Tensor], data: np.ndarray, requires_grad: bool, name: str | None, grad: Tensor | None
) -> Tensor:
    tensor = kind.__new__(kind)._fill(data, requires_grad)
    tensor.name, tensor._grad = name, grad
    return tensor


def _shape(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """The arguments of reshape(2, 3), reshape((2, 3)) or reshape([2, 3])."""
    return tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape


def _mask(mask: Any, name: str) -> Any:
    array = mask._data if isinstance(mask, Tensor) else np.asarray(mask)
    if array.dtype != bool:
        raise InputError(f"{name}{here()}: the mask must be boolean, got {array.dtype}: compare first, as in mask > 0")
    return mask if isinstance(mask, Tensor) else array


def _plain_index(index: Any) -> Any:
    """An index made of integers, slices and plain arrays: what tensors, lists and subclasses become."""
    if isinstance(index, tuple):
        return tuple(_plain_index(part) for part in index)
    if isinstance(index, (Tensor, list, np.ndarray)):
        array = np.asarray(index._data if isinstance(index, Tensor) else index)
        return array.astype(int) if array.size == 0 and isinstance(index, list) else array
    return index


def _on_arrays(function: Any, args: Any, kwargs: Any, name: str) -> Any:
    """Run a NumPy function that has no op on plain arrays, unless a gradient would be lost."""

    def plain(x: Any) -> Any:
        if isinstance(x, (list, tuple)):
            return type(x)(plain(y) for y in x)
        if not isinstance(x, Tensor):
            return x
        if x.requires_grad and _recording() and name not in _WITHOUT_GRADIENT:
            raise TypeError(
                f"np.{name} is not differentiable here: use an op of tinygrad_edu, or pass tensor.data to "
                "compute without a gradient"
            )
        return x.data

    return function(*plain(args), **{key: plain(x) for key, x in kwargs.items()})


_UFUNCS: dict[np.ufunc, Op] = {
    getattr(np, name): op
    for name, op in {
        **{
            op.name: op
            for op in vars(elementwise).values()
            if isinstance(op, Op) and isinstance(getattr(np, op.name, None), np.ufunc)
        },
        "add": elementwise.add,
        "subtract": elementwise.sub,
        "multiply": elementwise.mul,
        "divide": elementwise.div,
        "negative": elementwise.neg,
        "power": elementwise.pow,
        "absolute": elementwise.abs,
        "matmul": linalg.matmul,
    }.items()
}
_METHODS = frozenset(
    "sum mean var std max min argmax argmin prod cumsum reshape transpose swapaxes squeeze expand_dims broadcast_to "
    "flip roll pad repeat split tril triu clip".split()
)
_WITHOUT_GRADIENT = frozenset(
    "shape ndim size isnan isfinite isinf floor ceil rint signbit allclose array_equal isclose argsort nonzero any all "
    "array_repr array_str array2string result_type can_cast may_share_memory shares_memory count_nonzero "
    "zeros_like ones_like full_like empty_like".split()
)
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.amax: Tensor.max,
    np.amin: Tensor.min,
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
}


_OPERANDS = (Tensor, float, int, np.ndarray, np.generic)

# Functions of several tensors ----------------------------------------------------------------------------------------


def _joinable(tensors: Iterable[Any], name: str) -> list[Any]:
    listed = list(tensors) if isinstance(tensors, Iterable) and not isinstance(tensors, Tensor) else []
    if not listed:
        raise InputError(f"{name}{here()}: takes a list of at least one tensor, got {type(tensors).__name__}")
    return [x if isinstance(x, (Tensor, np.ndarray)) else Tensor(x) for x in listed]


def concatenate(tensors: Iterable[Any], axis: int | None = 0, **other: NoReturn) -> Tensor:
    """Join along an axis that exists, where all other axes must agree; or, with None, as one flat row."""
    if other:
        raise unknown_options("concatenate", other)
    joined = _joinable(tensors, "concatenate")
    joined = [x.reshape(-1) for x in joined] if axis is None else joined
    return apply(movement.concatenate, *joined, axis=axis or 0)


def stack(tensors: Iterable[Any], axis: int = 0, **other: NoReturn) -> Tensor:
    """Join equal shapes along a new axis."""
    if other:
        raise unknown_options("stack", other)
    return apply(movement.stack, *_joinable(tensors, "stack"), axis=axis)


def where(condition: Operand, x: Operand, y: Operand) -> Tensor:
    """x where the boolean condition is True, y elsewhere; the gradient goes to whichever was chosen."""
    return apply(elementwise.where, _mask(condition, "where"), x, y)


def maximum(x: Operand, y: Operand) -> Tensor:
    """The larger of two, element by element; at a tie each gets half of the gradient."""
    return apply(elementwise.maximum, x, y)


def minimum(x: Operand, y: Operand) -> Tensor:
    """The smaller of two, element by element; at a tie each gets half of the gradient."""
    return apply(elementwise.minimum, x, y)


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Stretch axes of length 1, and add axes in front, up to `shape`."""
    return apply(movement.broadcast_to, x, shape=tuple(shape))


def from_dlpack(array: Any) -> Tensor:
    """A tensor that shares the memory of another library's array, such as a PyTorch tensor on the CPU, by DLPack.

    Raises TypeError for what has no DLPack, is on another device, requires a gradient or has a type that NumPy lacks.

    >>> from_dlpack(np.arange(3))
    Tensor([0, 1, 2])
    """
    try:
        found = np.from_dlpack(array)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        reason = f"{type(array).__name__} cannot be shared" if isinstance(error, AttributeError) else str(error)
        raise TypeError(f"from_dlpack: {reason}") from None
    if found.dtype.kind not in "biuf":
        raise TypeError(f"from_dlpack: expected real numbers or booleans, got an array of {found.dtype}")
    return Tensor.wrap(found)


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Sums of products in Einstein's notation, as np.einsum: `te.einsum("bij,bjk->bik", a, b)`."""
    if not isinstance(subscripts, str):
        raise InputError(f'einsum: the subscripts come first, as in "ij,jk->ik"; got {type(subscripts).__name__}')
    explicit = linalg.explicit_subscripts(subscripts, [np.ndim(x) for x in operands])
    return apply(linalg.einsum, *operands, subscripts=explicit)


_FUNCTIONS.update({np.concatenate: concatenate, np.stack: stack, np.where: where, np.einsum: einsum})
