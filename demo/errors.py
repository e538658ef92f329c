"""What goes wrong in a demo, and how it is said."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on: the message says what, which, and what now."""
