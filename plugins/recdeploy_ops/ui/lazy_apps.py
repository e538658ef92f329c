"""Load an application of the web server only when it is first used: every Airflow process imports the plugin."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recdeploy_ops.ui.questions import App, Message, Receive, Send


class LazyApp:
    """An ASGI application that imports the real one with the first request.

    Args:
        module: has it under the name ``app``.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    @cached_property
    def _app(self) -> App:
        app: Any = import_module(self._module).app
        return app  # type: ignore[no-any-return]  # checked by using it

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        await self._app(scope, receive, send)
