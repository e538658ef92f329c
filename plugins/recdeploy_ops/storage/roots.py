"""The storage root that a URI names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import SettingsError

if TYPE_CHECKING:
    from recdeploy_ops.oci_clients.sessions import OciSession
    from recdeploy_ops.storage.stores import Store


def open_store(uri: str, session: OciSession | None) -> Store:
    """Return the store of a ``file:///folder`` or ``oci://bucket@namespace/prefix`` root.

    Args:
        uri: the setting ``storage``.
        session: signs the requests to Object Storage; a local folder needs none.

    Raises:
        SettingsError: a bucket without a session, or a URI of another form.
    """
    if uri.startswith("oci://"):
        if session is None:
            raise SettingsError(f"The storage root {uri} is a bucket, which needs the OCI connection of the settings.")
        from recdeploy_ops.storage.buckets import BucketStore

        return BucketStore(uri, session)
    if not uri.startswith("file:///"):
        raise SettingsError(
            f"{uri!r} is not a storage root. Expected is file:///folder or oci://bucket@namespace/prefix."
        )
    from recdeploy_ops.storage.directories import DirectoryStore

    return DirectoryStore(uri)
