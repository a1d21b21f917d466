"""The data sets: what is in them, how they are split, and one line for everything that can be wrong with a file."""

import contextlib
import pickle
import sys
import zipfile

import numpy as np
import pytest

from models.command import UserError
from models.datasets import digits, from_npz, moons, split


def test_digits():
    data = digits()
    assert data.X_train.shape == (1438, 64)
    assert data.X_test.shape == (359, 64)
    assert data.X_train.dtype == np.float32
    assert (data.X_train.min(), data.X_train.max()) == (0, 1)
    assert data.classes == tuple("0123456789")
    assert data.image == (8, 8)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r'pip install "tinygrad_edu\[demo\]"'):
        digits()


def test_the_split_is_stratified_complete_and_repeatable():
    X, y = np.arange(100.0)[:, None], np.repeat([7, 8, 9], [50, 40, 10])
    data = split("numbers", X, y, seed=0)
    assert np.bincount(data.y_test).tolist() == [10, 8, 2]
    assert np.bincount(data.y_train).tolist() == [40, 32, 8]
    assert sorted([*data.X_train.ravel(), *data.X_test.ravel()]) == X.ravel().tolist()
    assert data.classes == ("7", "8", "9")
    np.testing.assert_array_equal(data.X_test, split("numbers", X, y, seed=0).X_test)
    assert not np.array_equal(data.X_test, split("numbers", X, y, seed=1).X_test)


def test_moons():
    data = moons(n=200, noise=0, seed=3)
    assert data.X_train.shape == (160, 2)
    upper = data.X_train[data.y_train == 0]
    np.testing.assert_allclose(np.hypot(*upper.T), 1, rtol=1e-6)
    lower = data.X_train[data.y_train == 1] - [1, 0.5]
    np.testing.assert_allclose(np.hypot(*lower.T), 1, rtol=1e-6)
    np.testing.assert_array_equal(data.X_train, moons(n=200, noise=0, seed=3).X_train)
    with pytest.raises(UserError, match="at least 10"):
        moons(n=3)


def test_from_npz(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, X=np.arange(20).reshape(10, 2), y=["cat", "dog"] * 5)
    data = from_npz(path)
    assert data.X_train.shape == (8, 2)
    assert data.X_train.dtype == np.float32
    assert data.classes == ("cat", "dog")


X, Y = np.ones((4, 2)), np.array([0, 0, 1, 1])
INFINITE = np.array([[1.0, 2], [3, np.inf], [5, 6], [7, 8]])
WRONG = {
    "no X": ({"a": X, "y": Y}, "array X is missing"),
    "no arrays": ({}, "array X and y is missing"),
    "X of one axis": ({"X": X[:, 0], "y": Y}, "shape (samples, features), got (4,)"),
    "X of three axes": ({"X": np.ones((4, 2, 2)), "y": Y}, "use X.reshape(len(X), -1)"),
    "nothing": ({"X": np.ones((0, 2)), "y": Y[:0]}, "got (0, 2)"),
    "y too short": ({"X": X, "y": Y[:3]}, "one class for each of the 4 samples"),
    "y of two axes": ({"X": X, "y": np.eye(4)}, "got shape (4, 4)"),
    "y of floats": ({"X": X, "y": Y * 1.0}, "got float64; use y.astype(int)"),
    "X of texts": ({"X": np.full((4, 2), "a"), "y": Y}, "real numbers, got <U1"),
    "X complex": ({"X": X * 1j, "y": Y}, "real numbers, got complex128"),
    "infinite": ({"X": INFINITE, "y": Y}, "X[1, 1] is not a finite number"),
    "too large for float32": ({"X": X * 1e300, "y": Y}, "X[0, 0] is not a finite number"),
    "not a number": ({"X": X * np.nan, "y": Y}, "X[0, 0] is not a finite number"),
    "one class": ({"X": X, "y": Y * 0}, "all samples are of class 0"),
    "a rare class": ({"X": X, "y": np.array([0, 0, 0, 1])}, "class 1 has one sample only"),
    "pickled X": ({"X": np.array([[print, 1]] * 4), "y": Y}, "they hold Python objects; save X.astype(float)"),
    "pickled y": ({"X": X, "y": np.array([0, 0, None, 1])}, "cannot read the arrays X and y"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays(case, tmp_path):
    arrays, message = WRONG[case]
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    check(path, message)


def test_files_that_are_no_npz(tmp_path):
    path = tmp_path / "data.npz"
    check(path, "No such file")
    check(tmp_path, "Is a directory")
    for content in (b"", b"X,y\n1,2\n", pickle.dumps({"X": X, "y": Y}), bytes(range(256)) * 10):
        path.write_bytes(content)
        check(path, "is no .npz file")
    np.save(tmp_path / "one.npy", X)
    check(tmp_path / "one.npy", "is no .npz file")


@pytest.mark.parametrize("compressed", [False, True])
def test_broken_files(compressed, tmp_path):
    """Cut short anywhere, or with a byte changed anywhere: refused in one line, or read; never a traceback."""
    path, broken = tmp_path / "data.npz", tmp_path / "broken.npz"
    (np.savez_compressed if compressed else np.savez)(path, X=X, y=Y)
    content = path.read_bytes()
    for length in range(0, len(content) - 1, 7):
        broken.write_bytes(content[:length])
        check(broken, "broken.npz")
    for place in range(0, len(content), 5):
        broken.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with contextlib.suppress(UserError):  # a change that does not matter, such as a date, is no error
            from_npz(broken)


def test_other_things_in_a_zip(tmp_path):
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("X", b"hello")
        file.writestr("y.npy", b"world")
    check(path, "must be NumPy arrays")


def check(path, message):
    with pytest.raises(UserError) as caught:
        from_npz(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
