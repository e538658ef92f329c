"""Find and read the settings file, with errors that name the setting."""

from __future__ import annotations

import math
import os
import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from recdeploy_ops.domain.codec import shorten
from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.texts import decode_text
from recdeploy_ops.settings.sections import Settings

if TYPE_CHECKING:
    from recdeploy_ops.settings.types import Section

SETTINGS_VARIABLE = "RECDEPLOY_SETTINGS"
DEFAULT_NAME = "recommender"
DEFAULT_PATH = Path(__file__).parents[3] / "include" / "recommender.yaml"

LIMITS = ("type", "minimum", "exclusiveMinimum", "maximum", "pattern")
# For a DAG's Param with a pattern: where Airflow checks it, `$` also accepts a line break at the end.
ONE_LINE: dict[str, Any] = {"not": {"type": "string", "pattern": r"[\r\n]"}}
MOST_VALUES = 10_000  # in a settings file, with what its anchors stand for; the one of this project has about 150
QUOTED = 80  # characters of a wrong value in an error


def name_settings(dag_file: str) -> str:
    """Return the name of the settings for a DAG's file: ``recommender`` for ``dags/recommender_retrain.py``."""
    return Path(dag_file).stem.rpartition("_")[0]


def find_settings(name: str = DEFAULT_NAME) -> Path:
    """Return the path of the settings with this name.

    Args:
        name: ``recommender`` means `SETTINGS_VARIABLE`, or ``include/recommender.yaml``; any other is a file beside it.
    """
    default = Path(os.environ.get(SETTINGS_VARIABLE) or DEFAULT_PATH)
    return default if name == DEFAULT_NAME else default.with_name(f"{name}.yaml")


def load_settings(path: Path | None = None) -> Settings:
    """Read and validate the settings file.

    Args:
        path: the file; by default that of `find_settings`.

    Raises:
        SettingsError: the file cannot be read or is not YAML, or a setting is missing, unknown or out of range.
    """
    path = path or find_settings()
    try:
        raw = yaml.load(decode_text(path.read_bytes()), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as err:
        raise SettingsError(f"Cannot read the settings file {path}: {err.strerror}.") from err
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        raise SettingsError(f"{path} is not valid YAML: {err}") from err
    if not isinstance(raw, dict):
        raise SettingsError(f"{path} must be a mapping of settings, not {type(raw).__name__}.")
    try:
        return Settings.model_validate({**raw, "folder": path.resolve().parent})
    except ValidationError as err:
        raise SettingsError(f"{path}: " + "; ".join(map(_describe, err.errors()))) from err


def limits(section: type[Section], name: str) -> dict[str, Any]:
    """Return the values that a setting accepts, as JSON schema, for the DAG's Param of the same name."""
    schema = section.model_json_schema()["properties"][name]
    choices = schema.get("anyOf", [schema])
    accepted = {key: choice[key] for choice in choices for key in LIMITS if key in choice}
    if "pattern" in accepted:
        accepted |= ONE_LINE
    if len(choices) > 1:  # a limit of numbers or texts does not apply to null
        accepted["type"] = sorted(choice["type"] for choice in choices)
    return accepted


class _Loader(yaml.SafeLoader):
    """Refuses a repeated key, as YAML would silently use the last, and anchors in anchors that stand for too much."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _count_values(node, {}) > MOST_VALUES:
            raise yaml.YAMLError(f"it has more than {MOST_VALUES:,} values, with what its anchors stand for")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name in names:
            if names.count(name) > 1:
                raise yaml.YAMLError(f"the setting {name!r} occurs more than once")
        return super().construct_mapping(node, deep)


def _count_values(node: yaml.Node, counts: dict[yaml.Node, float]) -> float:
    """Return how many values a node has, with what its anchors stand for; infinite if it contains itself."""
    if node not in counts:
        counts[node] = math.inf
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        inner = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
        counts[node] = 1 + sum(_count_values(part, counts) for part in inner)
    return counts[node]


def _describe(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        return f"{name} is not a setting"
    return f"{name}: {problem['msg']} (it is {_quote(problem['input'])})"


def _quote(value: object) -> str:
    """Return a wrong value as a short text, without converting all of it."""
    quoting = reprlib.Repr()
    quoting.maxstring = quoting.maxother = QUOTED
    try:
        return shorten(quoting.repr(value), QUOTED)
    except ValueError:  # Python does not convert an integer with thousands of digits to text
        return "a very large number"
