"""`make audit-locks`: what it says of a lock, and that it never passes a package that it did not compare."""

from __future__ import annotations

import json
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from web_servers import SilentHandler, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]

FLAW = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fixed_in": ["1.1", "2.0"], "withdrawn": None}
UNFIXED = {"id": "GHSA-x", "aliases": [], "fixed_in": [], "withdrawn": None}
WITHDRAWN = FLAW | {"withdrawn": "2026-01-02T00:00:00Z"}


def told(version: str, *vulnerabilities: dict[str, object]) -> str:
    return json.dumps({"info": {"version": version}, "vulnerabilities": vulnerabilities})


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Callable[[str, dict[str, str]], subprocess.CompletedProcess[str]]]:
    """Returns a function that audits a lock against an index, which is the body of each path that it answers."""
    index: dict[str, str] = {}

    class Index(SilentHandler):
        def do_GET(self) -> None:
            body = index.get(self.path)
            self.send_response(HTTPStatus.NOT_FOUND if body is None else HTTPStatus.OK)
            self.end_headers()
            self.wfile.write((body or "").encode())

    with serving(Index) as port:

        def run(lock: str, answers: dict[str, str]) -> subprocess.CompletedProcess[str]:
            index.update(answers)
            (tmp_path / "lock.txt").write_text(lock, encoding="utf-8")
            command = [sys.executable, ROOT / "scripts" / "audit_locks.py", tmp_path / "lock.txt"]
            command += ["--index", f"http://127.0.0.1:{port}/"]
            return subprocess.run(command, capture_output=True, text=True, check=False)

        yield run


LOCK = "# a comment\nsix==1.0 ; python_full_version < '3.13' \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n"
VERSION, PROJECT = "/six/1.0/json", "/six/json"


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ({VERSION: told("1.0")}, 0, "1 of 1 packages compared, 0 vulnerable"),
        ({VERSION: told("1.0", WITHDRAWN)}, 0, "1 of 1 packages compared, 0 vulnerable"),
        ({VERSION: told("1.0", FLAW)}, 1, "VULNERABLE  six 1.0: PYSEC-2026-1, CVE-2026-1; fixed in 1.1, 2.0"),
        ({VERSION: told("1.0", UNFIXED)}, 1, "VULNERABLE  six 1.0: GHSA-x; fixed in no version yet"),
        ({PROJECT: told("1.0")}, 0, "1 of 1 packages compared, 0 vulnerable"),
        ({PROJECT: told("1.0", FLAW)}, 1, "VULNERABLE  six 1.0: PYSEC-2026-1"),
        ({PROJECT: told("2.0")}, 2, "UNKNOWN     six 1.0: the index answers for 2.0 only"),
        ({}, 2, "UNKNOWN     six 1.0: HTTPStatusError: Client error '404 Not Found'"),
        ({VERSION: "<html>"}, 2, "UNKNOWN     six 1.0: JSONDecodeError"),
        ({VERSION: told("1.0", {})}, 2, "UNKNOWN     six 1.0: KeyError: 'id'"),
        ({VERSION: '{"info": {"version": "1.0"}}'}, 2, "UNKNOWN     six 1.0: KeyError: 'vulnerabilities'"),
    ],
)
def test_each_answer_of_an_index_has_its_line_and_its_exit_code(
    audit: Callable[..., subprocess.CompletedProcess[str]], answers: dict[str, str], code: int, said: str
) -> None:
    done = audit(LOCK, answers)

    assert (done.returncode, done.stderr) == (code, "")
    assert said in done.stdout


def test_a_vulnerable_package_outweighs_an_unknown_one(
    audit: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = audit(LOCK + "attrs==2.0\n", {VERSION: told("1.0", FLAW)})

    assert done.returncode == 1
    assert "UNKNOWN     attrs 2.0" in done.stdout
    assert "1 of 2 packages compared, 1 vulnerable" in done.stdout


@pytest.mark.parametrize("lock", ["", "# nothing\n", "six\n", "six>=1.0\n", "six==\n", "<html>\n"])
def test_a_file_that_is_no_lock_is_refused_by_name(
    audit: Callable[..., subprocess.CompletedProcess[str]], lock: str
) -> None:
    done = audit(lock, {})

    assert done.returncode == 2
    assert "lock.txt" in done.stderr
    assert "Traceback" not in done.stderr
