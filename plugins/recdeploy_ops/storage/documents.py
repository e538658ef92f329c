"""Read JSON objects from storage, where others may have written or damaged them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError

if TYPE_CHECKING:
    from recdeploy_ops.storage.stores import Store


def read_object(store: Store, key: str) -> dict[str, Any]:
    """Return a stored JSON object.

    Raises:
        KeyNotFoundError: nothing is stored there.
        IntegrityError: it is not a JSON object.
    """
    return parse_object(store.read(key), f"{store.uri}/{key}")


def parse_object(content: bytes | str, name: str) -> dict[str, Any]:
    """Return the JSON object in a file.

    Args:
        content: of the file.
        name: of the file, for the error.

    Raises:
        IntegrityError: it is not a JSON object.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as err:
        raise IntegrityError(f"{name} is not valid JSON ({err}).") from err
    if not isinstance(value, dict):
        raise IntegrityError(f"{name} is not a JSON object.")
    return value
