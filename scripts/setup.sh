#!/bin/sh
# Make .venv from requirements-dev.txt, with hashes: `make setup`.
#
#   scripts/setup.sh            does nothing if .venv already matches the lock
#   PYTHON=python3.12 ...       uses this interpreter instead of the first suitable one
#
# The stamp .venv/.recdeploy has the lock's sha256 and the version of Python. It is removed before the first change and
# written after the last: an interrupted set-up starts from scratch.
set -eu
cd "$(dirname "$0")/.."

LOCK=requirements-dev.txt
STAMP=.venv/.recdeploy
UV_LOCK=scripts/uv.txt

# Unset personal settings that would break the hashes, the target or the compilation.
# Indexes, certificates, proxies and caches stay as they are.
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH VIRTUAL_ENV CONDA_PREFIX
unset PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_NO_DEPS PIP_NO_COMPILE PIP_CONSTRAINT PIP_REQUIREMENT
unset PIP_REQUIRE_VIRTUALENV PIP_NO_BUILD_ISOLATION PIP_NO_BINARY PIP_PRE PIP_DRY_RUN PIP_REPORT
unset UV_PYTHON UV_SYSTEM_PYTHON UV_TARGET UV_PREFIX UV_CONSTRAINT UV_BUILD_CONSTRAINT UV_OVERRIDE UV_EXCLUDE
unset UV_NO_VERIFY_HASHES UV_NO_BUILD_ISOLATION UV_NO_BINARY UV_COMPILE_BYTECODE UV_PROJECT_ENVIRONMENT
unset UV_EXCLUDE_NEWER UV_RESOLUTION UV_PRERELEASE

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
  printf 'setup: error: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '       %s\n' "$line" >&2; done
  exit 1
}

# Prints e.g. "3.12.1" if the interpreter is suitable.
version_of() {
  "$1" -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit(1); print("%d.%d.%d" % v[:3])' 2>/dev/null
}

key_of() {
  "$1" -c 'import hashlib, sys; v = sys.version_info
print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest(), "%d.%d.%d" % v[:3])' "$LOCK" 2>/dev/null
}

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    version_of "$PYTHON" >/dev/null || fail "PYTHON=$PYTHON is not Python 3.11, 3.12 or 3.13." \
      "It answers: $("$PYTHON" --version 2>&1 | head -n 1)" "Name a suitable one, e.g. PYTHON=/usr/bin/python3.12."
    printf '%s\n' "$PYTHON"
    return
  fi
  for candidate in python3.12 python3.13 python3.11 python3 python; do
    if version_of "$candidate" >/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  fail "No Python 3.11, 3.12 or 3.13 is on PATH." \
    "Debian and Ubuntu: apt-get install python3 python3-venv python3-dev. macOS: brew install python@3.12." \
    "Or name its path: make setup PYTHON=/path/to/python3.12"
}

# Prints the uv to use; nothing if there is none.
find_uv() {
  for candidate in uv .venv/bootstrap/bin/uv; do
    if "$candidate" --version >/dev/null 2>&1; then
      printf '%s\n' "$candidate"
      return
    fi
  done
}

find_compiler() {
  for candidate in ${CC:+"$CC"} cc gcc clang; do
    # CC may hold flags.
    if command -v "${candidate%% *}" >/dev/null 2>&1; then return 0; fi
  done
  return 1
}

explain_failure() {
  if ! find_compiler; then
    fail "The packages could not be installed, and there is no C compiler on PATH." \
      "A package without a wheel for this machine must be compiled (see the message above)." \
      "Debian and Ubuntu: apt-get install gcc g++ python3-dev. macOS: xcode-select --install. Then: make setup"
  fi
  fail "The packages could not be installed; the message above says why." \
    "Compiling needs Python's headers (Debian: apt-get install python3-dev)." \
    "Without network access: give pip and uv an index that they can reach. Then: make setup"
}

[ -f "$LOCK" ] || fail "$LOCK is not in $(pwd)." "Restore it: git checkout -- $LOCK"

if [ -f "$STAMP" ] && [ "$(key_of .venv/bin/python)" = "$(cat "$STAMP")" ]; then
  if [ -z "${PYTHON:-}" ] || [ "$(key_of "$PYTHON")" = "$(cat "$STAMP")" ]; then
    exit 0
  fi
fi

if [ -L .venv ]; then
  fail ".venv is a link to $(readlink .venv), which does not match this folder's lock: another checkout may use it." \
    "Give this folder an environment of its own: rm .venv, then make setup."
fi

python=$(find_python)
version=$(version_of "$python")
started=$(date +%s)
say "Python $version ($python), lock $LOCK"
find_compiler || say "there is no C compiler on PATH: this works only if every package has a wheel for this machine"

fresh=yes
if [ -f "$STAMP" ] && [ "$(cut -d' ' -f2 "$STAMP")" = "$version" ] && [ -n "$(find_uv)" ]; then
  fresh=no # complete, but from another lock: uv installs the differences
fi
rm -f "$STAMP"

uv=
if "${UV:-uv}" --version >/dev/null 2>&1; then uv=${UV:-uv}; fi
if [ "$fresh" = yes ]; then
  rm -rf .venv
  if [ -n "$uv" ]; then
    "$uv" venv --quiet --no-project --python "$(command -v "$python")" .venv || fail "uv could not make .venv with $python."
  else
    "$python" -m venv .venv || fail "$python cannot make a virtual environment (the message above says why)." \
      "Debian and Ubuntu: apt-get install python3-venv. Or install uv (https://docs.astral.sh/uv/) first."
    say "uv is not on PATH: putting one into .venv/bootstrap"
    # In a folder of its own, so that the environment has exactly the packages of the lock.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
      --target .venv/bootstrap --requirement "$UV_LOCK" ||
      say "uv cannot be installed; continuing with pip, which takes longer"
  fi
fi
uv=${uv:-$(find_uv)}

if [ -n "$uv" ]; then
  quiet=--quiet
  if [ -t 2 ]; then quiet=; fi
  "$uv" pip sync $quiet --python .venv/bin/python --require-hashes --compile-bytecode "$LOCK" || explain_failure
else
  .venv/bin/python -m pip install --disable-pip-version-check --require-hashes --no-deps --compile --quiet \
    --requirement "$LOCK" || explain_failure
fi

key_of .venv/bin/python >"$STAMP"
say "ready in $(($(date +%s) - started)) s"
