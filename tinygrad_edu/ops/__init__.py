"""The rules of differentiation: every op with its forward, its vector-Jacobian products and their formulas."""

from tinygrad_edu.ops import elementwise, fused, linalg, movement, reductions
from tinygrad_edu.ops.op import Op

__all__ = ["Op", "elementwise", "fused", "linalg", "movement", "reductions", "registry"]

registry: dict[str, Op] = {
    op.name: op
    for module in (elementwise, movement, reductions, linalg, fused)
    for op in vars(module).values()
    if isinstance(op, Op)
}
