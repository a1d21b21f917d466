"""tinygrad_edu: a small autograd framework on NumPy, for people who want to see how learning works."""

from tinygrad_edu import data, functional, nn, optim
from tinygrad_edu.anomaly import detect_anomaly
from tinygrad_edu.autograd import enable_grad, grad, no_grad, sweep
from tinygrad_edu.capture import capture
from tinygrad_edu.derivatives import hessian, hvp, jacobian, jvp, vjp
from tinygrad_edu.doctor import why
from tinygrad_edu.errors import AnomalyError, FormatError, GraphError, InputError, OutOfRangeError, ShapeError
from tinygrad_edu.gradcheck import gradcheck
from tinygrad_edu.health import health
from tinygrad_edu.locks import lock_arrays
from tinygrad_edu.ops.blocks import get_num_threads, set_num_threads
from tinygrad_edu.ops.op import Op
from tinygrad_edu.origins import record_lines
from tinygrad_edu.random import manual_seed
from tinygrad_edu.serialize import load, save
from tinygrad_edu.tensor import (
    Tensor,
    apply,
    broadcast_to,
    concatenate,
    einsum,
    from_dlpack,
    maximum,
    minimum,
    stack,
    where,
)

__version__ = "0.1.0"
__all__ = [
    "AnomalyError",
    "FormatError",
    "GraphError",
    "InputError",
    "Op",
    "OutOfRangeError",
    "ShapeError",
    "Tensor",
    "apply",
    "broadcast_to",
    "capture",
    "concatenate",
    "data",
    "detect_anomaly",
    "einsum",
    "enable_grad",
    "from_dlpack",
    "functional",
    "get_num_threads",
    "grad",
    "gradcheck",
    "health",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "load",
    "lock_arrays",
    "manual_seed",
    "maximum",
    "minimum",
    "nn",
    "no_grad",
    "optim",
    "record_lines",
    "save",
    "set_num_threads",
    "stack",
    "sweep",
    "vjp",
    "where",
    "why",
]
