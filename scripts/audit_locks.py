"""Compare the packages of locks with the vulnerabilities that PyPI publishes: `make audit-locks`.

PyPI passes on what the advisory databases of Python and GitHub know of a version
(https://docs.pypi.org/api/json/#known-vulnerabilities). Some mirrors answer for a project only, that is, for its newest
version: a package that is locked at an older one is then unknown.

Exit codes: 0 every package was compared and none is vulnerable; 1 at least one is vulnerable; 2 none is known to be
vulnerable, and at least one could not be compared, or a lock could not be read.
"""

from __future__ import annotations

import argparse
import datetime
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from packaging.requirements import Requirement

NONE, VULNERABLE, UNKNOWN = 0, 1, 2
REQUESTS = 8  # at once


@dataclass(frozen=True, order=True)
class Package:
    """A name with the exact version that a lock asks for."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Answer:
    """What the index says of a package: its vulnerabilities, or why they are unknown."""

    package: Package
    vulnerabilities: tuple[str, ...] = ()
    unknown: str = ""


def packages_of(path: str) -> set[Package]:
    """Return what a lock pins; raises `argparse.ArgumentTypeError` for any other file."""
    try:
        lines = Path(path).read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        required = [Requirement(line.split(" --hash=")[0]) for line in lines if line.strip() and line[0] not in "#-"]
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"cannot read the lock {path}: {error}") from None
    pins = {(one.name, pin.operator, pin.version) for one in required for pin in one.specifier}
    if not required or len(pins) < len(required) or any(operator != "==" for _, operator, _ in pins):
        raise argparse.ArgumentTypeError(f"{path} is not a lock: each line must name one version, as in six==1.17.0")
    return {Package(name, version) for name, _, version in pins}


def ask(client: httpx.Client, package: Package) -> Answer:
    """Ask for the version, and where the index has no answer, for the project."""
    try:
        told = client.get(f"{package.name}/{package.version}/json")
        if told.status_code == httpx.codes.NOT_FOUND:
            told = client.get(f"{package.name}/json")
        told.raise_for_status()
        body = told.json()
        newest = body["info"]["version"]
        vulnerabilities = tuple(describe(one) for one in body["vulnerabilities"] if not one.get("withdrawn"))
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Answer(package, unknown=f"{type(error).__name__}: {error}".splitlines()[0])
    if newest != package.version:
        return Answer(package, unknown=f"the index answers for {newest} only")
    return Answer(package, vulnerabilities)


def describe(vulnerability: dict[str, Any]) -> str:
    """Return its names and the versions without it."""
    names = ", ".join([vulnerability["id"], *vulnerability.get("aliases", [])])
    fixed = ", ".join(vulnerability.get("fixed_in") or []) or "no version yet"
    return f"{names}; fixed in {fixed}"


def report(answers: list[Answer], today: datetime.date) -> tuple[list[str], int]:
    """Return the lines to print and the exit code."""
    vulnerable = [answer for answer in answers if answer.vulnerabilities]
    unknown = [answer for answer in answers if answer.unknown]
    lines = [f"VULNERABLE  {answer.package}: {one}" for answer in vulnerable for one in answer.vulnerabilities]
    lines += [f"UNKNOWN     {answer.package}: {answer.unknown}" for answer in unknown]
    compared = len(answers) - len(unknown)
    lines.append(f"{today}: {compared} of {len(answers)} packages compared, {len(vulnerable)} vulnerable")
    return lines, VULNERABLE if vulnerable else UNKNOWN if unknown else NONE


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("locks", nargs="+", type=packages_of, metavar="LOCK", help="a lock, e.g. requirements.txt")
    parser.add_argument("--index", default="https://pypi.org/pypi/", help="base URL of PyPI's JSON API")
    options = parser.parse_args()
    packages = sorted(set.union(*options.locks))
    with (
        httpx.Client(
            base_url=options.index, transport=httpx.HTTPTransport(retries=3), timeout=60, follow_redirects=True
        ) as client,
        ThreadPoolExecutor(REQUESTS) as threads,
    ):
        answers = list(threads.map(lambda package: ask(client, package), packages))
    lines, code = report(answers, datetime.datetime.now(datetime.UTC).date())
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
