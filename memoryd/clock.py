"""The time."""

from datetime import UTC, datetime


class SystemClock:
    """:class:`memoryd.memory.ports.Clock` of the machine."""

    def now(self) -> datetime:
        """The present, in UTC."""
        return datetime.now(UTC)
