"""The steps of a release: one module for each Airflow task, named as the task.

A step is a function ``advance(context) -> Outcome``. It reads the ledger and OCI, makes the next move, and returns what
it waits for (`Waiting`) or a summary. It can always be called again: after a wait, after a failure, and after it was
killed at any point. Airflow operators and notebooks run the same function. Steps do not import each other: what they
share is in ``rollout/``, ``approvals/`` and ``evaluation/``.
"""
