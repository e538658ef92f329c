"""Which version of this project is running, for a model's provenance."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
CODE = ("plugins", "include")
# What git needs to find itself and its configuration; Airflow's connections and keys are none of its business.
PASSED_ON = ("PATH", "HOME", "XDG_CONFIG_HOME")
COMMIT_VARIABLE = "RECDEPLOY_GIT_COMMIT"  # set in the image, which has no repository


@dataclass(frozen=True)
class CodeVersion:
    """Where the running code comes from; None if unknown."""

    repository: str | None
    branch: str | None
    commit: str | None


def digest_of_code() -> str:
    """Return one sha256 over the product's source files, whether or not they are committed."""
    digest = hashlib.sha256()
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def describe_code() -> CodeVersion:
    """Return repository, branch and commit of the code, from git or from the image's variable."""
    commit = os.environ.get(COMMIT_VARIABLE)
    if commit:
        return CodeVersion(None, None, commit)
    remote = _git("config", "--get", "remote.origin.url")
    return CodeVersion(
        repository=_without_credentials(remote) if remote else None,
        branch=_git("rev-parse", "--abbrev-ref", "HEAD"),
        commit=_git("rev-parse", "HEAD"),
    )


def _without_credentials(url: str) -> str:
    return re.sub(r"^([a-z+]+://)[^/@]*@", r"\1", url)


def _git(*arguments: str) -> str | None:
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        answer = subprocess.run(
            ["git", "-C", str(ROOT), *arguments],  # noqa: S607 - git is where the worker's PATH says
            capture_output=True,
            text=True,
            env=environment,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
