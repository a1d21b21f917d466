"""Small data sets for classification, each split into training and test samples, the same way for the same seed."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from os import PathLike

import numpy as np

from models.command import INSTALL, UserError, one_line


@dataclass(frozen=True)
class Dataset:
    """Samples and their classes."""

    name: str
    X_train: np.ndarray  # (N, D) float32
    y_train: np.ndarray  # (N,) integers from 0 to C - 1
    X_test: np.ndarray  # (M, D) float32
    y_test: np.ndarray  # (M,)
    classes: tuple[str, ...]  # C names
    image: tuple[int, int] | None = None  # (H, W) where a sample is a picture, H · W = D

    @property
    def features(self) -> int:
        """D, the numbers that describe one sample."""
        return int(self.X_train.shape[1])


def digits(seed: int = 0) -> Dataset:
    """1 797 handwritten digits, 8x8 pixels from 0 (paper) to 1 (ink), D = 64: 1 438 to train on, 359 to test.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository (1998),
    doi:10.24432/C50P49, the part that scikit-learn carries.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError(f"the digits come with scikit-learn, which is not installed: {INSTALL}") from None
    pixels, labels = load_digits(return_X_y=True)
    return replace(split("digits", pixels / 16, labels, seed), image=(8, 8))  # a pixel counts 0 to 16


def moons(n: int = 1000, noise: float = 0.15, seed: int = 0) -> Dataset:
    """Two interleaved half circles of radius 1, D = 2: n points moved by normal noise of this standard deviation."""
    if n < 10:
        raise UserError(f"moons: expected at least 10 points, got {n}")
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    angle = random.uniform(0, np.pi, n)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # 2 x (n,) -> (n, 2)
    lower = np.array([1.0, 0.5]) - upper
    points = np.where(labels[:, None] == 0, upper, lower) + random.normal(0, noise, (n, 2))
    return split("moons", points, labels, seed)


def from_npz(path: str | PathLike[str], seed: int = 0) -> Dataset:
    """A file of `np.savez(path, X=X, y=y)`: X (N, D) real numbers, about 1 in size, and y (N,) integers or texts."""
    X, y = _read_npz(path)
    if X.ndim != 2 or 0 in X.shape:
        raise UserError(f"{path}: X must have shape (samples, features), got {X.shape}; use X.reshape(len(X), -1)")
    if y.shape != X.shape[:1]:
        raise UserError(f"{path}: y must hold one class for each of the {len(X)} samples of X, got shape {y.shape}")
    if X.dtype.kind not in "biuf":
        raise UserError(f"{path}: X must hold real numbers, got {X.dtype}")
    if y.dtype.kind not in "biuU":
        advice = "; use y.astype(int)" if y.dtype.kind == "f" else ""
        raise UserError(f"{path}: y must hold classes (integers or texts), got {y.dtype}{advice}")
    with np.errstate(over="ignore"):  # reported in the next line
        X = X.astype(np.float32)
    if not np.isfinite(X).all():
        sample, feature = np.argwhere(~np.isfinite(X))[0]
        raise UserError(f"{path}: X[{sample}, {feature}] is not a finite number")
    return split(str(path), X, y, seed)


def _read_npz(path: str | PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """The arrays X and y of the file. Nothing in it is ever unpickled, since that could run a stranger's code."""
    try:
        with open(path, "rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise UserError(f"{path} is no .npz file, or is cut short; write one with np.savez(path, X=X, y=y)")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                missing = [key for key in ("X", "y") if key not in file.files]
                if missing:
                    found = ", ".join(file.files) or "none"
                    raise UserError(f"{path}: array {' and '.join(missing)} is missing (found: {found:.80})")
                X, y = file["X"], file["y"]
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or one_line(error)}") from None
    except Exception as error:  # a broken file breaks zipfile, zlib and NumPy in many ways
        reason = one_line(error)
        if reason.startswith("Object arrays"):  # NumPy's own words advise to allow pickles
            reason = "they hold Python objects; save X.astype(float) and y.astype(str)"
        raise UserError(f"{path}: cannot read the arrays X and y: {reason:.120}") from None
    if not isinstance(X, np.ndarray) or not isinstance(y, np.ndarray):
        raise UserError(f"{path}: X and y must be NumPy arrays; write the file with np.savez(path, X=X, y=y)")
    return X, y


def split(name: str, X: np.ndarray, y: np.ndarray, seed: int, test_share: float = 0.2) -> Dataset:
    """Put this share of each class aside for the test, at least one sample, chosen by the seed."""
    names, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise UserError(f"{name}: all samples are of class {names[0]!s}; there must be at least two classes")
    if counts.min() < 2:
        rare = names[counts.argmin()]
        raise UserError(f"{name}: class {rare!s} has one sample only; each class needs two, to train and to test")
    random = np.random.default_rng(seed)
    tested = np.zeros(len(X), dtype=bool)
    for label, count in enumerate(counts):
        members = random.permutation(np.flatnonzero(labels == label))
        tested[members[: max(1, round(test_share * int(count)))]] = True
    X = X.astype(np.float32)
    classes = tuple(str(each) for each in names)
    return Dataset(name, X[~tested], labels[~tested], X[tested], labels[tested], classes)
