"""Train the models that the gates compare with, as a JSON file in the current folder says.

Started by ``recdeploy_ops.training`` in a process of its own, like the operator, and for the same reasons.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path, help="a JSON file; its folders stand beside it")
    parser.add_argument("--end-with-parent", action="store_true", help="end when standard input is closed")
    arguments = parser.parse_args()
    sys.path.append(str(HOME))
    from include.training.run_operator import end_with_parent

    if arguments.end_with_parent:
        end_with_parent()
    from include.training.gate_models import train_models
    from include.training.memory import TooLargeError

    try:
        train_models(json.loads(arguments.job.read_text(encoding="utf-8")), arguments.job.absolute().parent)
    except TooLargeError as err:
        sys.exit(str(err))


if __name__ == "__main__":
    main()
