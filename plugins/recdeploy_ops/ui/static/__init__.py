"""The scripts beside this file, and a hash over all of them. Every Airflow process imports this with the plugin."""

import hashlib
from pathlib import Path

SCRIPTS = {path.name: path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.js"))}
SCRIPTS_HASH = hashlib.sha256(b"".join(name.encode() + script for name, script in SCRIPTS.items())).hexdigest()[:16]
PAGE = f"recdeploy/static/{SCRIPTS_HASH}/page.js"  # relative to Airflow's base URL
