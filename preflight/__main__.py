"""Plant damage and count which gates see it; and count how often they stop an honest week: ``make preflight``.

    make preflight DATA=folder                  # real ratings as CSV, e.g. MovieLens-100k; about 10 minutes
    make preflight ARGS=--quick                 # the generated store only, about 3 minutes
    make preflight DATA=folder ARGS="--recipe ease"    # the models of another recipe than svd
    make preflight DATA=folder ARGS=--tuning    # on the weeks and seeds on which the thresholds were chosen

Training, measurements and verdicts are the product's own, with the thresholds of ``include/recommender.yaml``. It fails
if an honest week is stopped too often, or damage is missed that docs/gates.md says is caught.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from preflight.experiments import KINDS
from preflight.shop_plans import QUICK, Scope, plan_shops
from preflight.suite import check_goals, run_shops
from preflight.tallies import describe_damages, describe_honest
from recdeploy_ops.domain.recipes import RECIPES, SVD


def main() -> int:
    """Run the experiments, print their tables, and return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m preflight", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder with users.csv, items.csv and interactions.csv")
    parser.add_argument("--quick", action="store_true", help="a few trials on the generated store")
    parser.add_argument("--recipe", choices=RECIPES, default=SVD.name, help="the recipe that trains the models")
    parser.add_argument("--tuning", action="store_true", help="the weeks and seeds on which thresholds were chosen")
    parser.add_argument("--pairs", type=int, help="pairs of successive weeks whose models are trained")
    parser.add_argument("--only", help=f"kinds of experiments, of: {', '.join(KINDS)}")
    parser.add_argument("--out", type=Path, help="a file for all counts, as JSON")
    given = parser.parse_args()
    data = given.data or (Path(os.environ["DATA"]) if os.environ.get("DATA") else None)
    only = given.only.split(",") if given.only else list(KINDS)
    if unknown := sorted(set(only) - set(KINDS)):
        parser.error(f"{', '.join(unknown)}: no such kind of experiments, only {', '.join(KINDS)}")
    scope = replace(QUICK if given.quick else Scope(is_tuning=given.tuning), recipe=given.recipe)
    if given.pairs is not None:
        if given.pairs < 1:
            parser.error(f"--pairs {given.pairs}: at least one pair is needed")
        scope = replace(scope, pairs=given.pairs)
    started = time.monotonic()

    def report(line: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {line}", file=sys.stderr, flush=True)

    try:
        plans = plan_shops(data, scope, only=only)
    except (FileNotFoundError, KeyError, ValueError) as err:
        parser.error(f"DATA={data or 'none'} with {scope.pairs} pairs cannot be used: {err}")
    with TemporaryDirectory(prefix="recdeploy-preflight-") as folder:
        tallies = run_shops(plans, Path(folder), report)
    if given.out:
        given.out.write_text(json.dumps([tally.to_json() for tally in tallies], indent=1) + "\n", encoding="utf-8")
    print(describe_honest([tally for tally in tallies if not tally.is_damage]))
    print()
    print(describe_damages([tally for tally in tallies if tally.is_damage]))
    missed = check_goals(tallies)
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
