"""tinygrad_edu: a small autograd framework on NumPy, for people who want to see how learning works."""

from tinygrad_edu import data, functional, nn, optim
from tinygrad_edu.anomaly import detect_anomaly
from tinygrad_edu.autograd import enable_grad, grad, no_grad, sweep
from tinygrad_edu.derivatives import hessian, hvp, jacobian, jvp, vjp
from tinygrad_edu.errors import AnomalyError, GraphError, ShapeError
from tinygrad_edu.gradcheck import gradcheck
from tinygrad_edu.ops.op import Op
from tinygrad_edu.origins import record_lines
from tinygrad_edu.random import manual_seed
from tinygrad_edu.tensor import Tensor, apply, broadcast_to, concatenate, einsum, maximum, minimum, stack, where

__version__ = "0.1.0"
__all__ = [
    "AnomalyError",
    "GraphError",
    "Op",
    "ShapeError",
    "Tensor",
    "apply",
    "broadcast_to",
    "concatenate",
    "data",
    "detect_anomaly",
    "einsum",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "manual_seed",
    "maximum",
    "minimum",
    "nn",
    "no_grad",
    "optim",
    "record_lines",
    "stack",
    "sweep",
    "vjp",
    "where",
]
