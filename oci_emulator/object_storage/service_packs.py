"""The index of conda environments in Oracle's own bucket: every tenancy can read it, none can list or change it.

ADS resolves the slug of an environment with it.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path

from oci_emulator.messages import OciRequest
from oci_emulator.store import Json

_INDEX = {
    "namespaceName": "id19sfcrra6z",
    "bucketName": "service-conda-packs",
    "objectName": "service_pack/index.json",
}
_FILE = Path(__file__).with_name("service_packs.json")


def find(request: OciRequest) -> Json | None:
    """Return the index, described like an object of `Objects`, if it is the object in the path."""
    return _described() if request.path == _INDEX else None


@cache
def _described() -> Json:
    content = _FILE.read_bytes()
    digest = hashlib.md5(content, usedforsecurity=False)
    return {
        "file": str(_FILE),
        "etag": digest.hexdigest(),
        "version": digest.hexdigest(),
        "size": len(content),
        "md5": base64.b64encode(digest.digest()).decode(),
        "modified": "Sun, 01 Nov 2026 00:00:00 GMT",
        "headers": {"content-type": "application/json"},
        "metadata": {},
    }
