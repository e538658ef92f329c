"""The steps of a release: one module for each Airflow task, named as the task.

A step is a function ``advance(context) -> Outcome``. It looks at the ledger and at OCI, does the next thing, and
answers what it waits for (`Waiting`) or a summary. Calling it again is always right: after a wait, after a failure,
and after it was killed at any instant. An Airflow operator and a notebook run the very same function. No step imports
another: what they share is in ``rollout/``, ``approvals/`` and ``evaluation/``.
"""
