"""Write ``docs/configuration.md``: every setting with its type, default, bounds and the file's own comment.

``make configuration`` runs this. Types, defaults and bounds come from the model that validates the settings, the words
from the comments of ``include/recommender.yaml``: neither is written a second time.
"""

from __future__ import annotations

import json
import math
import re
import sys
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from recdeploy_ops.settings.loading import DEFAULT_PATH
from recdeploy_ops.settings.sections import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HEADING = """# Configuration

Made by `make configuration` from the model of the settings and from the comments in
[include/recommender.yaml](../include/recommender.yaml), the one file to edit. A value that is out of bounds, and a
name that is not a setting, are errors that name them. The default counts where the file leaves a setting out. Where a
bound depends on other settings, it is the one beside the values in the file. [gates.md](gates.md) explains the
thresholds.
"""
ENVIRONMENT = {
    "RECDEPLOY_SETTINGS": "Path of the settings file, in place of `include/recommender.yaml`; a second recommender's "
    "is beside it.",
    "RECDEPLOY_GIT_COMMIT": "The commit that an image was built from: the provenance of each model. Without it, that "
    "of the working copy.",
    "RECDEPLOY_HOME": "The folder of this project, for a notebook that lies elsewhere.",
    "AIRFLOW_CONN_OCI_DEFAULT": "The connection that `connections.oci` names (its id in capitals), as JSON; any other "
    "way in which Airflow finds connections will do. Notebook and terminal read it, too.",
    "AIRFLOW_CONN_RECOMMENDER_DB": "Likewise, the connection that `connections.database` names.",
    "AIRFLOW__API__BASE_URL": "Airflow's own address, which the links in messages and questions begin with.",
    "AIRFLOW__SECRETS__BACKEND_KWARGS": "Where Airflow looks connections up: [secrets.md](secrets.md). Notebook and "
    "terminal read its `connections_file_path`.",
    "OCI_CONFIG_LOCATION": "Notebook and terminal: the SDK's file, in place of `~/.oci/config`.",
    "OCI_CONFIG_FILE": "The same, under its other name.",
    "OCI_CONFIG_PROFILE": "Notebook and terminal: the profile in that file, in place of `DEFAULT`.",
    "OCI_RESOURCE_PRINCIPAL_VERSION": "Set by OCI where a resource principal signs requests.",
    "OCI_ODSC_SERVICE_ENDPOINT": "Notebook and terminal: another endpoint of Data Science, as for ADS.",
    "NB_SESSION_COMPARTMENT_OCID": "Set by OCI in a notebook session: the compartment.",
    "PROJECT_COMPARTMENT_OCID": "The same, where the one above is missing.",
    "PROJECT_OCID": "Set by OCI in a notebook session: the Data Science project.",
    "NB_REGION": "Set by OCI in a notebook session: its region.",
    "USER_OCID": "Set by OCI in a notebook session: who answers an approval there.",
    "NB_SESSION_OCID": "The same, where no person is known.",
    "NUMBA_CACHE_DIR": "Where compiled code is cached, in place of `~/.cache/recdeploy`.",
    "MPLCONFIGDIR": "Likewise, matplotlib's list of fonts.",
    "XDG_CACHE_HOME": "In place of `~/.cache`.",
}
SETTING = re.compile(r"^(?P<indent> *)(?P<name>[A-Za-z_]+):(?P<value>[^#]*)(?P<comment>#.*)?$")
COMMENT = re.compile(r"^(?P<indent> *)# ?(?P<text>.*)$")
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
MOST_TRIES = 200  # halves any range of numbers down to their precision
NAMES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}


def main() -> None:
    """Write the page to the standard output."""
    sys.stdout.write(render_reference(DEFAULT_PATH.read_text(encoding="utf-8")))


def render_reference(text: str) -> str:
    """Return the page, Markdown.

    Args:
        text: of the settings file that is shipped.
    """
    schema, comments, file = Settings.model_json_schema(), read_comments(text), yaml.safe_load(text)
    tables: dict[str, list[str]] = {}
    for path, details in _flatten(schema, schema, ()):
        kind = " or ".join(_name(choice, schema) for choice in details.get("anyOf", [details]))
        row = (
            f"`{path[-1]}`",
            _escape(_try_limits(kind, path, file)),
            _describe_default(details, file, path),
            _escape(comments.get(path, "")),
        )
        tables.setdefault(".".join(path[:-1]), []).append(f"| {' | '.join(row)} |")
    lines = [HEADING]
    for section, rows in tables.items():
        lines += [f"## `{section}`\n" if section else "## At the top\n"]
        if comment := comments.get(tuple(section.split("."))):
            lines += [f"{_escape(comment)}\n"]
        lines += ["| setting | type | default | what it is |", "| --- | --- | --- | --- |", *rows, ""]
    lines += ["## Environment variables\n", "| variable | what it is |", "| --- | --- |"]
    lines += [f"| `{name}` | {what} |" for name, what in ENVIRONMENT.items()]
    return "\n".join(lines) + "\n"


def read_comments(text: str) -> dict[tuple[str, ...], str]:
    """Return the comment of each setting by its path: the lines directly above it, then those beside and below it.

    A line below belongs to the comment beside a setting if it stands in the same column or further right.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    above: list[str] = []
    path: tuple[str, ...] = ()
    column = None
    for line in text.splitlines():
        comment, setting = COMMENT.match(line), SETTING.match(line)
        if comment and column is not None and len(comment["indent"]) >= column:
            found[path].append(comment["text"])
        elif comment:
            above, column = [*above, comment["text"]], None
        elif setting:
            path = (*path[: len(setting["indent"]) // 2], setting["name"])
            beside, column = setting["comment"], line.find("#") if setting["comment"] else None
            found[path] = [*above, *([beside.removeprefix("#").strip()] if beside else [])]
            above = []
        else:
            above, column = [], None
    return {path: " ".join(part.strip() for part in parts) for path, parts in found.items() if parts}


def _flatten(
    part: Mapping[str, Any], schema: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield the path and the schema of each setting, those of a section before those of the sections in it."""
    nested = []
    for name, details in part["properties"].items():
        if name == "folder" and not path:
            continue  # of the file itself
        inner, is_mapping = _inner(details, schema)
        is_bound = inner is not None and "hold" in inner["properties"]
        if inner and not is_bound:
            nested.append(((*path, name, "NAME") if is_mapping else (*path, name), inner))
        if inner is None or is_bound or is_mapping:
            yield (*path, name), {**details, "is_bound": is_bound, "is_needed": name in part.get("required", ())}
    for inner_path, inner in nested:
        yield from _flatten(inner, schema, inner_path)


def _inner(details: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, bool]:
    """Return the schema of the section that a setting is, and whether it is a mapping of such; None for any other."""
    of_names = [*details.get("patternProperties", {}).values()]
    for choice in [details, *details.get("anyOf", ()), *of_names]:
        referred = schema["$defs"].get(str(choice.get("$ref", "")).rpartition("/")[2], {})
        if "properties" in referred:
            return referred, choice in of_names
    return None, False


def _try_limits(kind: str, path: tuple[str, ...], file: Any) -> str:
    """Return the bounds of a threshold, which its dataclass knows and no schema: by trying values.

    Where they depend on other settings, these are as in the file.
    """
    step = {NAMES["integer"]: 1.0, NAMES["number"]: 1e-9}.get(kind)
    if step is None or path[0] != "gates":
        return kind
    is_accepted = partial(_is_accepted, path, file)
    limits = []
    for outside, sign in ((-1.0, ">"), (1e9, "<")):
        if not is_accepted(outside):
            bound = round(_last_accepted(is_accepted, _value_at(path, file), outside, step), 6)
            limits.append(f"{'≥' if sign == '>' else '≤'} {bound:g}" if is_accepted(bound) else f"{sign} {bound:g}")
    return ", ".join([kind, *limits])


def _last_accepted(is_accepted: Callable[[float], bool], inside: float, outside: float, step: float) -> float:
    """Return the last value that is accepted on the way from one that is to one that is not, to within a step."""
    for _ in range(MOST_TRIES):
        if abs(outside - inside) <= step:
            break
        middle = (inside + outside) / 2
        middle = middle if step < 1 else float(math.floor(middle))
        if middle == inside:  # the last whole number on the way up
            middle = inside + step
        inside, outside = (middle, outside) if is_accepted(middle) else (inside, middle)
    return inside


def _is_accepted(path: tuple[str, ...], file: Mapping[str, Any], value: float) -> bool:
    """Return whether the settings are valid with another value at a path."""
    changed = deepcopy({**file, "folder": DEFAULT_PATH.parent})
    _value_at(path[:-1], changed)[path[-1]] = int(value) if value.is_integer() else value
    try:
        Settings.model_validate(changed)
    except ValidationError:
        return False
    return True


def _value_at(path: tuple[str, ...], file: Any) -> Any:
    for name in path:
        file = file[name]
    return file


def _describe_default(details: Mapping[str, Any], file: Any, path: tuple[str, ...]) -> str:
    """Return what counts where the file leaves a setting out, and what the file has if that differs."""
    if details["is_needed"]:
        return "needed"
    default = details.get("default")
    for name in path:
        file = file.get(name, default) if isinstance(file, dict) else default
    shown = f"`{json.dumps(default, ensure_ascii=False)}`"
    return shown if file == default else f"{shown}; in the file `{json.dumps(file, ensure_ascii=False)}`"


def _name(choice: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return what a setting accepts, in words."""
    if choice.get("is_bound"):
        return "`hold` and `fail`"
    if "$ref" in choice:
        choice = schema["$defs"][choice["$ref"].rpartition("/")[2]]
    if "enum" in choice:
        return ", ".join(f"`{value}`" for value in choice["enum"])
    if choice.get("type") == "array":
        return f"list of: {_name(choice['items'], schema)}" if "items" in choice else "list"
    if choice.get("type") == "object":
        return "mapping"
    kind = str(choice.get("type", "any value"))
    limits = [f"{sign} {show_number(choice[name])}" for name, sign in LIMITS.items() if name in choice]
    pattern = [f"like `{choice['pattern']}`"] if "pattern" in choice else []
    return ", ".join([NAMES.get(kind, kind), *limits, *pattern])


def show_number(number: float) -> str:
    """Return a number without an exponent."""
    return f"{number:g}" if abs(number) < 1e6 else f"{number:.0f}"


def _escape(text: str) -> str:
    """Return text for a cell of a table."""
    return text.replace("|", r"\|")


if __name__ == "__main__":
    main()
