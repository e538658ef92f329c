"""The endpoints of Logging."""

from dataclasses import dataclass

from oci_emulator.logging_service.groups import LogGroups
from oci_emulator.messages import Endpoint, Plain


@dataclass(frozen=True)
class Logging:
    """The service."""

    groups: LogGroups

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints by operation."""
        return {
            "CreateLogGroup": Plain(self.groups.create),
            "GetLogGroup": Plain(self.groups.get),
            "ListLogGroups": Plain(self.groups.list_all),
            "CreateLog": Plain(self.groups.create_log),
            "GetLog": Plain(self.groups.get_log),
            "ListLogs": Plain(self.groups.list_logs),
        }
