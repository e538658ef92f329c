"""Chaos tests use the fixtures of the step tests: releases against a running emulator."""

from steps.conftest import (  # noqa: F401 - fixtures
    context,
    emulator,
    emulator_process,
    profile_fields,
    project_id,
    settings,
)
