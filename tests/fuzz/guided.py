"""Fuzz the loaders guided by coverage: inputs that reach new branches are kept and changed further.

    python -m tests.fuzz.guided [CORPUS_FOLDER] -max_total_time=600

The options are libFuzzer's. It needs the package atheris. The first byte of an input chooses the loader.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Begin from the good files."""
    import atheris

    with atheris.instrument_imports(include=["models", "tinygrad_edu.serialize", "tinygrad_edu.files"]):
        from tests.fuzz.loaders import LOADERS, check
    loaders = list(LOADERS.values())

    def one_input(data: bytes) -> None:
        if data:
            check(loaders[data[0] % len(loaders)], data[1:])

    with tempfile.TemporaryDirectory() as folder:
        for number, loader in enumerate(loaders):
            for version, seed in enumerate(loader.seeds):
                (Path(folder) / f"{number}-{version}").write_bytes(bytes([number]) + seed)
        limits = ["-rss_limit_mb=2048", "-timeout=10", "-max_len=4096"]
        atheris.Setup([sys.argv[0], *limits, *sys.argv[1:], folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
