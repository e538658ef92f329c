"""Chaos tests use the fixtures of the step tests: releases against a running emulator."""

import pytest
from neighbours import add_neighbours
from steps.conftest import (  # noqa: F401 - fixtures
    context,
    emulator,
    emulator_process,
    profile_fields,
    project_id,
    settings,
)


@pytest.fixture
def neighbours(emulator, project_id):  # noqa: F811 - pytest passes the fixtures by name
    """What other teams have in the same project; returns the OCIDs."""
    return add_neighbours(emulator, project_id)
