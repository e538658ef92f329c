"""Find and replace a customer's id in texts that people read: reports, pages, and the operator's own report."""

from __future__ import annotations

import html
import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from recdeploy_ops.storage.bundles import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ERASED = "[erased]"
DISTINCTIVE = 8  # characters of an id that stands for nothing else, even inside a longer word
SHORTEST_WORD = 3  # characters of an id that is looked for without quotes
VOCABULARY = frozenset({"verdict", "gate", "run", "project"})  # fields of a report whose values are not about customers
TAG = re.compile(r"(<style.*?</style>|<[^>]*>)", re.DOTALL)


class CustomerText:
    """One customer's id, as texts may spell it.

    An id that could be a count, or that is very short, is replaced only where a text shows it as an id: in quotes, as a
    whole cell or value, or before what a report says of a user. Any other id is replaced wherever it stands alone, and
    one of at least `DISTINCTIVE` characters everywhere.

    Args:
        user: the id.
    """

    def __init__(self, user: str) -> None:
        self._user = user

    def is_in(self, text: str) -> bool:
        """Return whether a text names the customer."""
        return self._pattern.search(text) is not None

    def erase(self, text: str) -> str:
        """Return a text without the customer's id."""
        return self._pattern.sub(ERASED, text)

    def erase_html(self, text: str) -> str:
        """Return a page without the customer's id in what it shows; tags and styles stay."""
        parts = TAG.split(text)
        if len(self._user) >= DISTINCTIVE:
            return self.erase(text)
        shown = [self._pattern.sub(ERASED, f">{part}<")[1:-1] for part in parts[::2]]  # a whole cell is in angles
        parts[::2] = shown
        return "".join(parts)

    def erase_json(self, text: str) -> str:
        """Return a JSON document without the customer's id in its values; a text that is not JSON as any other.

        The names of fields stay: programs read them.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return self.erase(text)
        changed = _map_texts(value, self.erase)
        return text if changed == value else canonical_json(changed).decode()

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        spelled = "|".join(re.escape(spelling) for spelling in sorted(set(self._spellings()), key=len, reverse=True))
        if len(self._user) >= DISTINCTIVE:
            return re.compile(spelled)
        if not self._user.isdecimal() and len(self._user) >= SHORTEST_WORD:
            return re.compile(rf"(?<!\w)0?(?:{spelled})(?!\w)")
        quoted = rf"""(?<=['">])(?:{spelled})(?=['"<])|^(?:{spelled})$"""
        named = rf"""(?<![\w.,:-])0?(?:{spelled})(?:\.0)?(?= got | was answered | is unknown )"""
        return re.compile(f"{quoted}|{named}")

    def _spellings(self) -> Iterator[str]:
        """Yield the id as it is, and as Python, JSON and HTML quote it.

        The probes of unknown users are made of known ones, also with upper and lower case exchanged.
        """
        plain = {self._user, self._user.swapcase()}
        plain |= {repr(self._user)[1:-1], ascii(self._user)[1:-1]}
        plain |= {json.dumps(self._user)[1:-1], json.dumps(self._user, ensure_ascii=False)[1:-1]}
        for spelling in plain:
            yield spelling
            yield html.escape(spelling, quote=False)
            yield html.escape(spelling)
            yield html.escape(spelling).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")  # as Jinja does


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with each text in it changed, except in the fields of the `VOCABULARY`."""
    if isinstance(value, dict):
        return {name: item if name in VOCABULARY else _map_texts(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [_map_texts(item, change) for item in value]
    return change(value) if isinstance(value, str) else value
