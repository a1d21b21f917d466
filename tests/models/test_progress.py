"""The progress bar: in a terminal, in a narrow one, in a file, without tqdm."""

import io
import os
import struct
import subprocess
import sys

import pytest

from models.progress import Progress

SCRIPT = """
import sys
if {hidden}: sys.modules["tqdm"] = None
from models.progress import Progress
with Progress(30) as progress:
    for _ in range(30): progress.step("loss 0.1234  accuracy 97.1%")
"""


def in_terminal(columns, hidden=False):
    """What the script prints into a terminal of this width."""
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))  # not on Windows
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    subprocess.run([sys.executable, "-c", SCRIPT.format(hidden=hidden)], stderr=theirs, check=True, timeout=60)
    os.close(theirs)
    with os.fdopen(ours, "rb") as terminal:
        return os.read(terminal.fileno(), 100_000).decode()


@pytest.mark.parametrize("columns", [30, 45, 80])
def test_the_bar_fits_the_terminal(columns):
    pytest.importorskip("tqdm")
    lines = [line for line in in_terminal(columns).replace("\n", "\r").split("\r") if line]
    assert all(len(line) <= columns for line in lines)
    assert lines[-1].startswith("epoch 30/30  loss 0.1234")


def test_plain_lines_in_a_terminal_without_tqdm():
    lines = in_terminal(80, hidden=True).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "epoch 30/30  loss 0.1234  accuracy 97.1%"


def test_plain_lines_in_a_file():
    file = io.StringIO()
    with Progress(25, unit="step", stream=file) as progress:
        for _ in range(25):
            progress.step()
    lines = file.getvalue().splitlines()
    assert (lines[0], lines[-1]) == ("step 1/25", "step 25/25")
    assert len(lines) <= 14


def test_an_error_inside_passes_through():
    def fail():
        with Progress(3, stream=io.StringIO()) as progress:
            progress.step()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
