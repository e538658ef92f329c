"""Rules that `.importlinter` cannot express: allow-lists of imports, names and lengths of modules."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
STANDARD_LIBRARY = sys.stdlib_module_names
PRODUCT = ("dags", "plugins", "include", "oci_emulator", "demo")
LONGEST_MODULE = 300  # lines
MODULES_AT_THE_TOP = 5  # of the package; every other module is in a folder

# Folder, and the packages and modules that its files may import besides the standard library.
ALLOWED = {
    "plugins/recdeploy_ops/domain": {"recdeploy_ops.domain"},
    "include/score_template": set[str](),
    "include/training": {
        *("ads", "implicit", "joblib", "llvmlite", "numba", "numpy", "pandas", "plotly", "pyarrow", "report_creator"),
        *("scipy", "surprise", "threadpoolctl"),
        "include.training",
    },
    "dags": {"airflow.sdk", "recdeploy_ops.operators", "recdeploy_ops.settings"},
}


def imported_modules(path: Path) -> Iterator[str]:
    """Yield each module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            yield node.module


def is_allowed(module: str, allowed: set[str]) -> bool:
    """Return whether a module, or a package around it, is allowed."""
    parts = module.split(".")
    return parts[0] in STANDARD_LIBRARY or any(".".join(parts[:end]) in allowed for end in range(1, len(parts) + 1))


def product_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_folder_imports_only_what_its_list_allows(folder: str) -> None:
    files = product_files(folder)
    forbidden = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in files
        for module in imported_modules(path)
        if not is_allowed(module, ALLOWED[folder])
    }
    assert files
    assert not forbidden


@pytest.mark.parametrize("path", product_files("plugins/recdeploy_ops/steps"), ids=lambda path: path.stem)
def test_a_module_of_steps_has_the_name_of_an_airflow_task(path: Path) -> None:
    dags = "".join(dag.read_text(encoding="utf-8") for dag in product_files("dags"))
    assert path.stem == "__init__" or f'task_id="{path.stem}"' in dags


def test_no_module_of_the_product_is_too_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in product_files(*PRODUCT)}

    assert len(lengths) > 100
    assert {path: length for path, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_few_modules_are_at_the_top_of_the_package() -> None:
    modules = [path.name for path in (ROOT / "plugins/recdeploy_ops").glob("*.py") if path.stem != "__init__"]

    assert 0 < len(modules) <= MODULES_AT_THE_TOP, modules
