"""What is public, what importing costs, and which way imports point."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lowres
from lowres.cli.app import VERBS

ROOT = Path(lowres.__file__).parent
HEAVY = ("numpy", "PIL", "numba", "torch", "scipy", "matplotlib", "jinja2", "skimage", "rich")

RANKS = {
    "text": -1,
    "errors": 0, "progress": 0, "jit": 0, "call": 0,
    "variant": 1, "imagenet": 1, "reading": 1,
    "work": 2, "statistics": 2,
    "recipe": 3, "resampling": 3,
    "formats": 4,
    "store": 5,
    "comparing": 6, "networks": 6,
    "loading": 7,
    "training": 8,
    "study": 9,
    "report": 10,
    "cli": 11,
    "testing": 11, "__main__": 12, "__init__": 12,
}  # fmt: skip
"""A module imports only from a lower rank, or from its own folder."""


def test_public_names_are_sorted_and_there():
    assert len(lowres.__all__) == len(set(lowres.__all__))
    for name in lowres.__all__:
        assert getattr(lowres, name) is not None
    assert dir(lowres) == sorted(lowres.__all__)
    with pytest.raises(AttributeError, match="no attribute 'bild'"):
        _ = lowres.bild


def test_public_functions_stay_functions_whatever_is_imported_first():
    import lowres.store.build
    import lowres.store.export

    assert callable(lowres.build)
    assert callable(lowres.export)
    assert callable(lowres.train)


@pytest.mark.full
@pytest.mark.parametrize("name", lowres.__all__)
def test_public_names_are_what_from_gives(name):
    """And not a module of the same name, in a fresh process."""
    code = (
        f"from lowres import {name}; import types; assert not isinstance({name}, types.ModuleType)"
    )
    again = f"{code}; import lowres; assert lowres.{name} is {name}"
    subprocess.run([sys.executable, "-c", again], check=True)


def imported(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(' '.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in run.stdout.split()}


def test_importing_lowres_imports_nothing_heavy():
    assert not imported("import lowres") & set(HEAVY)
    assert "numpy" in imported("import lowres; lowres.resample"), "the check can fail"


def called(*words: str) -> set[str]:
    """Return the modules that a call of the command line imports."""
    script = f"from lowres.cli import main\ntry: main({list(words)})\nexcept SystemExit: pass"
    run = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport sys; print('\\nall', *sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(run.stdout.rpartition("\nall ")[2].split())


@pytest.mark.parametrize("flag", ["--help", "--version", "--hepl", "biuld"])
def test_the_overview_imports_no_verb(flag):
    modules = called(flag)
    assert {name for name in modules if name.startswith("lowres.")} == {
        "lowres.cli", "lowres.cli.app", "lowres.errors", "lowres.text",
        "lowres.work", "lowres.work.executor", "lowres.work.signals",
    }  # fmt: skip
    assert not modules & {*HEAVY, "msgspec"} - {"rich"}


@pytest.mark.parametrize(
    "verb", [*(path.rpartition(":")[2] for _, path, _ in VERBS), "bench build"]
)
def test_the_help_of_a_verb_imports_nothing_heavy(verb):
    modules = called(*verb.split(), "--help")
    assert not modules & set(HEAVY) - {"rich"}
    assert "lowres.formats" not in modules


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: p.relative_to(ROOT))
def test_imports_point_down(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lowres"):
            below = node.module.split(".")
            modules = [below[1]] if len(below) > 1 else [alias.name for alias in node.names]
            for module in modules:
                lower = RANKS[module] < RANKS[own] or module == own
                assert lower, f"{own} imports {module} in line {node.lineno}"


TORCH_ALLOWED = {"loading", "networks", "training"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: p.relative_to(ROOT))
def test_torch_is_imported_only_where_it_belongs(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    names = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    uses_torch = any(name.partition(".")[0] == "torch" for name in names)
    assert not uses_torch or own in TORCH_ALLOWED


def test_version_and_types_are_in_the_package():
    from importlib.metadata import version

    assert lowres.__version__ == version("lowres")
    assert (Path(lowres.__file__).parent / "py.typed").is_file()
