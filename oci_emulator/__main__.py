"""`python -m oci_emulator`: run the emulator."""

import argparse
import logging
import sys
from pathlib import Path

from oci_emulator.credentials import COMPARTMENT, TENANCY
from oci_emulator.server import ServerSettings, StartError, serve


def main(arguments: list[str] | None = None) -> int:
    """Run until stopped; return the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    options = _parser().parse_args(arguments)
    settings = ServerSettings(
        host=options.host,
        port=options.port,
        data_dir=options.data_dir,
        ready_file=options.ready_file,
        compartments=tuple(dict.fromkeys([*options.compartment, COMPARTMENT, TENANCY])),
        public_url=options.public_url and options.public_url.rstrip("/"),
        exit_with_parent=options.exit_with_parent,
    )
    try:
        serve(settings)
    except StartError as err:
        sys.stderr.write(f"oci_emulator: {err}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m oci_emulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="the port; 0 for any free one (default)")
    parser.add_argument("--public-url", help="the URL that clients use, if it is not http://HOST:PORT")
    parser.add_argument("--data-dir", type=Path, required=True, help="the folder that holds all state")
    parser.add_argument("--ready-file", type=Path, help="a JSON file, written once connections are accepted")
    parser.add_argument(
        "--compartment", action="append", default=[], help="the OCID of a further compartment; repeatable"
    )
    parser.add_argument(
        "--exit-with-parent",
        action="store_true",
        help="stop at the end of standard input, so that the emulator does not outlive its parent",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
