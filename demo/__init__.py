"""``make demo``: a whole release on one machine."""

import sys
from pathlib import Path

# As Airflow does it: modules below plugins/ are imported by their own names.
sys.path.append(str(Path(__file__).resolve().parents[1] / "plugins"))
