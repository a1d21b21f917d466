"""What is refused, and why: each is also a kind of the built-in error that a caller would expect."""


class ShapeError(ValueError):
    """The inputs of an op do not fit together: names the op, the shapes, the module, and what to do."""


class InputError(TypeError):
    """An input or option has a type or dtype that the op does not compute on: names it, and what to do."""


class OutOfRangeError(IndexError):
    """An index, id or class points outside of what it selects from: names it, and the range."""


class GraphError(RuntimeError):
    """A gradient cannot be computed from this graph: names the op, the reason, and what to do."""


class AnomalyError(GraphError, FloatingPointError):
    """An op made NaN or infinity, inside `detect_anomaly`: names the op, its inputs, the line, and what to do."""


class FormatError(ValueError):
    """A file is not what it should be, or does not fit: names the file, what is wrong in it, and what to do."""
