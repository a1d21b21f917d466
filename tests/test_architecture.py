"""The rooms of the house, and who may know whom (DESIGN.md section 1), read from the syntax trees."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("tinygrad_edu", "models", "viz")

# Lower floors first: a module may import from its own floor's file order or from a floor below, never from one above.
FLOORS = [
    [
        "tinygrad_edu.errors",
        "tinygrad_edu.files",
        "tinygrad_edu.interrupts",
        "tinygrad_edu.notes",
        "tinygrad_edu.random",
    ],
    ["tinygrad_edu.ops"],
    ["tinygrad_edu.hints"],
    ["tinygrad_edu.autograd"],
    ["tinygrad_edu.origins"],
    ["tinygrad_edu.tensor"],
    ["tinygrad_edu.serialize"],
    [
        "tinygrad_edu.derivatives",
        "tinygrad_edu.gradcheck",
        "tinygrad_edu.functional",
        "tinygrad_edu.anomaly",
        "tinygrad_edu.locks",
    ],
    ["tinygrad_edu.nn", "tinygrad_edu.optim", "tinygrad_edu.data"],
    ["tinygrad_edu.program"],
    ["tinygrad_edu.recorder"],
    ["tinygrad_edu.capture"],
    ["tinygrad_edu.gates", "tinygrad_edu.doctor", "tinygrad_edu.health"],
    ["tinygrad_edu"],
    ["models", "viz"],
]


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    """The project's modules, and other packages, that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)


def floor(module: str) -> int:
    """The number of the floor on which a module lives: that of its longest listed prefix."""
    matches = [
        (len(room), number)
        for number, rooms in enumerate(FLOORS)
        for room in rooms
        if module == room or module.startswith(room + ".")
    ]
    assert matches, f"{module} has no floor: add it to FLOORS"
    number = max(matches)[1]
    assert module == "tinygrad_edu" or not module.startswith("tinygrad_edu.") or FLOORS[number] != ["tinygrad_edu"], (
        f"{module} has no floor: add it to FLOORS"
    )
    return number


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    for imported in imports(MODULES[module]):
        if imported.split(".")[0] not in PACKAGES:
            continue
        assert floor(imported) <= floor(module), f"{module} imports {imported}, which is above it"
        if module.startswith("viz"):
            assert not imported.startswith("models"), "viz looks at the engine, not at the models"


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith("viz")])
def test_nothing_imports_viz_when_it_is_imported(module: str) -> None:
    assert not [i for i in imports(MODULES[module], top_level_only=True) if i.split(".")[0] == "viz"]


def test_there_are_no_import_circles() -> None:
    """Within a floor too. A package's __init__ collects its modules, so it may not be imported by them."""
    graph = {
        m: {i for i in imports(path, top_level_only=True) if i in MODULES and i != m} for m, path in MODULES.items()
    }
    done: set[str] = set()
    while ready := [m for m in graph if m not in done and graph[m] <= done]:
        done.update(ready)
    assert done == set(MODULES), f"import circle among {sorted(set(MODULES) - done)}"


def test_the_engine_needs_numpy_alone() -> None:
    """When it is imported; where it uses more, it says what to install."""
    allowed = {"numpy", *PACKAGES[:1], *sys.stdlib_module_names}
    optional = {"tinygrad_edu.serialize": {"safetensors"}}
    for module, path in MODULES.items():
        if module.startswith("tinygrad_edu"):
            assert {name.split(".")[0] for name in imports(path, top_level_only=True)} <= allowed, module
            assert {name.split(".")[0] for name in imports(path)} <= allowed | optional.get(module, set()), module


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


def test_importing_the_engine_loads_numpy_and_the_standard_library_only() -> None:
    loaded = run_python(
        "import sys, numpy.random; before = set(sys.modules); import tinygrad_edu; print(*set(sys.modules) - before)"
    )
    foreign = {name.split(".")[0] for name in loaded.split()} - {"numpy", "tinygrad_edu", *sys.stdlib_module_names}
    assert not foreign


def test_importing_viz_and_models_loads_no_optional_package() -> None:
    loaded = run_python("import sys, viz, models, models.train; print(*{m.split('.')[0] for m in sys.modules})").split()
    assert not {"graphviz", "pygraphviz", "matplotlib", "safetensors", "sklearn", "tokenizers", "torch", "tqdm"} & set(
        loaded
    )
