"""What a step answers: it waits for OCI, or it is done.

Every step is a function ``advance(releases, run_id, ...)``. It looks at the ledger and at OCI, does the next
thing and says what it waits for, or that it is done. Calling it again is always right: after a wait, after a
failure, and after it was killed at any instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recdeploy_ops.domain.waiting import Waiting

Summary = Mapping[str, Any]
Outcome = Waiting | Summary
