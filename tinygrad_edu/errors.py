"""The ways a computation can be refused, each also a kind of the built-in error a caller would expect."""


class ShapeError(ValueError):
    """The inputs of an op do not fit together: names the op, the shapes, the module, and what to do."""


class GraphError(RuntimeError):
    """A gradient cannot be computed from this graph: names the op, the reason, and what to do."""


class AnomalyError(GraphError, FloatingPointError):
    """An op made NaN or infinity, inside `detect_anomaly`: names the op, its inputs, the line, and what to do."""
