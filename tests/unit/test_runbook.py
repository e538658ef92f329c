"""The runbook explains every message that begins with PRODUCTION NEEDS A PERSON, and every exit code."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
TREES = {
    path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "plugins/recdeploy_ops").rglob("*.py"))
}
FUNCTIONS = {node.name: node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
MARK = "NEEDS_A_PERSON"
SHORTEST = 8  # characters of a text: shorter ones mean nothing alone


def is_mark(node: ast.expr) -> bool:
    return getattr(node, "id", getattr(node, "attr", None)) == MARK


def texts_of(message: ast.AST) -> list[str]:
    """Return the fixed texts of an f-string, and those of our functions that it calls."""
    texts = []
    for node in ast.walk(message):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value.strip(" .:,()\n"))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            returned = [n for n in ast.walk(FUNCTIONS[node.func.id]) if isinstance(n, ast.Return)]
            texts += [text for n in returned for text in texts_of(n)]
    return [text for text in texts if len(text) >= SHORTEST]


def find_messages() -> Iterator[tuple[str, list[str]]]:
    """Yield the file and line of each message, with its fixed texts."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            if any(isinstance(part, ast.FormattedValue) and is_mark(part.value) for part in parts):
                yield f"{path.name}:{node.lineno}", texts_of(node)


MESSAGES = dict(find_messages())


def count_uses() -> int:
    """Return how often the mark is read, except as an argument of ``startswith``."""
    uses = 0
    for tree in TREES.values():
        asked = {
            id(argument)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "startswith"
            for argument in node.args
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                uses += is_mark(node) and id(node) not in asked
    return uses


def test_every_message_is_an_f_string_that_this_test_can_read() -> None:
    assert len(MESSAGES) >= 5
    assert count_uses() == len(MESSAGES)
    assert {line: texts for line, texts in MESSAGES.items() if not texts} == {}


@pytest.mark.parametrize("line", MESSAGES)
def test_a_message_that_calls_a_person_is_explained_in_the_runbook(line: str) -> None:
    runbook = " ".join(re.sub(r"^> ", "", RUNBOOK, flags=re.MULTILINE).split())

    assert [text for text in MESSAGES[line] if " ".join(text.split()) not in runbook] == []


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_first_pages_link_to_the_runbook(page: str) -> None:
    assert "runbook.md)" in (ROOT / page).read_text(encoding="utf-8")


def test_the_runbook_states_every_exit_code_of_a_rollback() -> None:
    stated = {int(code) for code in re.findall(r"^\| (\d+) \|", RUNBOOK, re.MULTILINE)}
    main = TREES[ROOT / "plugins/recdeploy_ops/__main__.py"]

    assert stated == {0, 1, 2, 3, 130}
    assert all(str(code) in (ast.get_docstring(main) or "") for code in stated)
