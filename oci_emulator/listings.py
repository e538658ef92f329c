"""Lists of resources: filtered, sorted, and in pages."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.responses import Response

from oci_emulator.errors import InvalidParameterError
from oci_emulator.messages import OciRequest, document
from oci_emulator.store import Json, Resource

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
_ORDERS = {"ASC": False, "DESC": True}


@dataclass(frozen=True)
class Listing:
    """A list operation: its filters, its sort fields (the default first), and the fields that it omits.

    `fields` has the field of each filter and sort field with another name; `default_limit` is for a page.
    """

    filters: Sequence[str]
    sortable: Sequence[str]
    omits: frozenset[str] = frozenset()
    fields: Mapping[str, str] = field(default_factory=dict)
    default_limit: int = DEFAULT_LIMIT

    def reply(self, request: OciRequest, resources: Sequence[Resource], show: Callable[[Resource], Json]) -> Response:
        """Return one page of `resources` as shown by `show`, with `opc-next-page` if there are more."""
        items = [show(resource) for resource in resources]
        wanted = {self.fields.get(name, name): request.query[name] for name in self.filters if name in request.query}
        items = [item for item in items if all(item.get(name) == value for name, value in wanted.items())]
        page, token = paginate(self._sort(items, request.query), request.query, self.default_limit)
        shown = [{name: value for name, value in item.items() if name not in self.omits} for item in page]
        return document(shown, opc_next_page=token) if token else document(shown)

    def _sort(self, items: list[Json], query: Mapping[str, str]) -> list[Json]:
        name = query.get("sortBy", self.sortable[0])
        if name not in self.sortable:
            raise InvalidParameterError(f"sortBy is {name!r}, not one of {', '.join(self.sortable)}.")
        key = self.fields.get(name, name)
        order = query.get("sortOrder", "DESC" if key.startswith("time") else "ASC").upper()
        if order not in _ORDERS:
            raise InvalidParameterError(f"sortOrder is {order!r}, not ASC or DESC.")
        # Items are in the order of creation, which decides between equal values.
        ranked = sorted(enumerate(items), key=lambda pair: (str(pair[1].get(key)), pair[0]), reverse=_ORDERS[order])
        return [item for _, item in ranked]


def paginate(
    items: list[Json], query: Mapping[str, str], default_limit: int = DEFAULT_LIMIT
) -> tuple[list[Json], str | None]:
    """Return the requested page and the token of the next one.

    A token names the last item of its page, so that items created meanwhile do not shift the next page.
    """
    limit = page_limit(query, default_limit, MAX_LIMIT)
    start = _after(items, query["page"]) if query.get("page") else 0
    page = items[start : start + limit]
    more = start + limit < len(items)
    return page, _token(page[-1], start + limit) if more else None


def page_limit(query: Mapping[str, str], default: int, maximum: int) -> int:
    """Return the query's `limit`."""
    text = query.get("limit") or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= maximum:
        raise InvalidParameterError(f"limit is {text!r}, not a number from 1 to {maximum}.")
    return int(text)


def _token(last: Json, position: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([last.get("id"), position]).encode()).decode()


def _after(items: list[Json], token: str) -> int:
    try:
        last, position = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError, TypeError) as err:
        raise InvalidParameterError(f"page is {token!r}, not a token from opc-next-page.") from err
    for index, item in enumerate(items):
        if last is not None and item.get("id") == last:
            return index + 1
    return int(position)
