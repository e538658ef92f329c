"""Chaos tests use the fixtures of the step tests: releases against a running emulator."""

import pytest
from neighbours import add_neighbours
from steps.conftest import (  # noqa: F401 - fixtures
    approved_here,
    begin_with,
    beginnings,
    context,
    emulator,
    emulator_process,
    no_pace,
    profile_fields,
    project_id,
    released,
    run,
    settings,
    two_versions,
)


@pytest.fixture
def neighbours(emulator, project_id):  # noqa: F811 - pytest passes the fixtures by name
    """Adds the resources of other teams to the project; returns their OCIDs."""
    return add_neighbours(emulator, project_id)
