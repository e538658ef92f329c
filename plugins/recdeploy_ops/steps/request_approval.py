"""Step 12 of a release, and step 3 of a rollback: ask a person, and record the answer.

Airflow's own approval task waits between the two, so this step has two functions instead of ``advance``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.approvals import answers, questions

if TYPE_CHECKING:
    from recdeploy_ops.approvals.answers import Answer
    from recdeploy_ops.approvals.questions import Question
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.events import ApprovalAnswered


def ask(
    context: ReleaseContext, *, attempt: int, notice: str | None = None, link: str | None = None
) -> Question | None:
    """Record that a person is asked, and return the question; None if nobody needs to be asked.

    Args:
        context: of the run.
        attempt: Airflow's try number: an answer to an earlier try does not count.
        notice: what the question begins with, e.g. why it is asked again.
        link: address of the report; None if it has none.
    """
    if context.confirm_lock().is_rollback:
        return questions.ask_rollback(context, attempt=attempt, notice=notice)
    return questions.ask(context, attempt=attempt, notice=notice, link=link)


def record_answer(context: ReleaseContext, answer: Answer, *, attempt: int) -> ApprovalAnswered:
    """Record an answer for the digest of the question; raises as `answers.record_answer` does."""
    return answers.record_answer(context, answer, attempt=attempt)
