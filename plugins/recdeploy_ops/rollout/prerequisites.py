"""What a release needs of OCI and of this machine, checked before anything is spent.

A check that finds something raises an error with a remedy. A check that would have side effects, or that OCI does not
answer, is returned as a sentence that begins with *Not tried*.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import CloudRefusedError, CloudUnavailableError, SettingsError
from recdeploy_ops.domain.records import Role
from recdeploy_ops.domain.remedies import ChangeSetting, GrantPolicy, Remedy
from recdeploy_ops.domain.sizes import DEFAULT_SHAPE, amount_of_limit, describe_shape
from recdeploy_ops.oci_clients.tags import run_slug
from recdeploy_ops.rollout.switches import PROBE, patient_asker
from recdeploy_ops.storage.keys import slug_prefix
from recdeploy_ops.workspaces import require_free_space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.params import RetrainParams
    from recdeploy_ops.domain.records import Shape

LEAST_FREE_BYTES = 64 << 20  # for the lists, the database and the report of a small shop
# A step holds today's extract and results beside the champion's.
SIDES = 2

WORK_REQUEST_POLICY = GrantPolicy(
    "Allow the user of the OCI connection to read data-science-work-requests in its compartment: without them no "
    "change of a deployment can be followed"
)


def check_prerequisites(context: ReleaseContext, params: RetrainParams) -> tuple[str, ...]:
    """Check what a release needs, with few requests, and return what was not tried, one sentence each.

    Args:
        context: of the run; storage and the Model Catalog are checked already.
        params: of the run.

    Raises:
        TemporaryFolderError: this machine's temporary folder is too small or not writable.
        CloudRefusedError: a right is missing, or a log group or log is not there.
        SettingsError: the region does not list the shape, too little of a service limit is left, or a required tag
            is missing.
    """
    require_free_space(_wanted_bytes(context))
    _check_work_requests(context)
    _check_logs(context)
    return (
        *_check_predict(context),
        *_check_shape(context, params),
        *_check_limits(context, params),
        *_check_tags(context),
    )


def _wanted_bytes(context: ReleaseContext) -> int:
    """Return the free bytes that a release may need: what the champion's release has stored, once for each side."""
    champion = context.state.champion
    if champion is None:
        return LEAST_FREE_BYTES
    stored = context.store.list(slug_prefix(run_slug(champion.run_id), ""))
    return max(LEAST_FREE_BYTES, SIDES * sum(item.size for item in stored))


def _check_work_requests(context: ReleaseContext) -> None:
    try:
        context.tenancy.check_work_requests()
    except CloudRefusedError as err:
        raise CloudRefusedError(err.message, WORK_REQUEST_POLICY, status=err.status, code=err.code) from err


def _check_logs(context: ReleaseContext) -> None:
    """Read the log group of the settings and its logs."""
    serving = context.settings.serving
    if serving.log_group_id is None:
        return
    with _naming("log_group_id"):
        context.tenancy.check_log_group(serving.log_group_id)
    for setting, log_id in (("access_log_id", serving.access_log_id), ("predict_log_id", serving.predict_log_id)):
        if log_id:
            with _naming(setting):
                context.tenancy.check_log(serving.log_group_id, log_id)


@contextmanager
def _naming(setting: str) -> Iterator[None]:
    """Name the setting of the section serving in a refusal to read a log or its group."""
    try:
        yield
    except CloudRefusedError as err:
        remedy = ChangeSetting(
            "Correct the OCID, or allow the user of the OCI connection to use log-groups in the logs' compartment",
            setting=f"serving.{setting}",
        )
        raise CloudRefusedError(err.message, remedy, status=err.status, code=err.code) from err


def _check_predict(context: ReleaseContext) -> Iterator[str]:
    """Send one request to production; only a refusal is an error, as a release can repair a production that fails."""
    production = context.state.production
    if production is None:
        yield "Not tried: the right to send requests to deployments, as nothing is in production."
        return
    try:
        patient_asker(context, production.url, fresh=True)(PROBE)
    except CloudUnavailableError as err:
        yield f"Not tried: the right to send requests to deployments, as production did not answer: {err.message}"


def _needed_shape(context: ReleaseContext, params: RetrainParams) -> Shape | None:
    """Return the size of the deployment that the release creates; None if it creates none."""
    is_created = not params.skip_test_deployment or context.state.production is None
    return params.size.apply_to(DEFAULT_SHAPE) if is_created else None


def _check_shape(context: ReleaseContext, params: RetrainParams) -> Iterator[str]:
    shape = _needed_shape(context, params)
    name = shape.instance_shape if shape else params.instance_shape
    if name is None:
        return
    try:
        listed = context.tenancy.shapes()
    except CloudRefusedError as err:
        yield f"Not tried: whether the region has the shape {name}: {err.message}"
        return
    if name not in listed:
        raise SettingsError(
            f"The region does not list the shape {name} for model deployments. It lists {', '.join(sorted(listed))}.",
            ChangeSetting("Choose one of these, also as the param of a run", setting="serving.instance_shape"),
        )


def _check_limits(context: ReleaseContext, params: RetrainParams) -> Iterator[str]:
    """Compare the deployment that the release creates with what is left of the limits that the settings name."""
    shape = _needed_shape(context, params)
    if shape is None:
        return
    if not context.settings.serving.service_limits:
        yield "Not tried: service limits, as serving.service_limits names none."
    for limit in context.settings.serving.service_limits:
        needed = amount_of_limit(limit, shape)
        try:
            left = context.tenancy.available(limit)
        except CloudRefusedError as err:
            yield f"Not tried: the service limit {limit}: {err.message}"
            continue
        if left is None or needed is None:
            yield f"Not tried: the service limit {limit}, as OCI does not say how much of it is left or needed."
        elif left < needed:
            role = Role.TEST if not params.skip_test_deployment else Role.PRODUCTION
            raise SettingsError(
                f"{left} is left of OCI's service limit or quota {limit}, and the {role} deployment, "
                f"{describe_shape(shape)}, needs {needed:g}.",
                Remedy(
                    "Delete a deployment that nothing uses, choose a smaller size (settings serving), or request a "
                    "higher limit in the OCI console (Governance, Limits, Quotas and Usage)"
                ),
            )


def _check_tags(context: ReleaseContext) -> Iterator[str]:
    """Compare the tags of the settings with those that the compartment requires of new resources."""
    given = {key.casefold() for keys in context.settings.tags.defined.values() for key in keys}
    try:
        required = context.tenancy.required_tags()
    except CloudRefusedError as err:
        yield f"Not tried: whether the compartment requires tags: {err.message}"
        return
    missing = [key for key in required if key.casefold() not in given]
    if missing:
        raise SettingsError(
            f"The compartment requires a value of {', '.join(missing)} on each new resource: the settings give none.",
            ChangeSetting("Write it below its tag namespace", setting="tags.defined"),
        )
