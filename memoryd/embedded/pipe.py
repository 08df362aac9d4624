"""The supervisor's end of ``MEMORYD_READY_FD``: one byte means ready, the end of the pipe means no longer."""

import asyncio
import os
from types import TracebackType


class ReadyPipe:
    """Open for one life of one child."""

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        self._write_open = True
        os.set_blocking(self._read_end, False)
        self.ready = asyncio.Event()
        self.closed = asyncio.Event()

    def __enter__(self) -> "ReadyPipe":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.get_running_loop().remove_reader(self._read_end)
        self._close_write_end()
        os.close(self._read_end)

    def watch(self) -> None:
        """Once the child has its copy of the write end: give up ours, so that its end is seen, and listen."""
        self._close_write_end()
        asyncio.get_running_loop().add_reader(self._read_end, self._heard)

    def _heard(self) -> None:
        try:
            said = os.read(self._read_end, 64)
        except BlockingIOError:
            return
        if said:
            self.ready.set()
        else:
            self.closed.set()
            asyncio.get_running_loop().remove_reader(self._read_end)

    def _close_write_end(self) -> None:
        if self._write_open:
            self._write_open = False
            os.close(self.write_end)
