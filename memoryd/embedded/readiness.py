"""The child's side of supervision: take over the listening socket, and say when requests may come.

A child whose specification has no probe finds the number of an open pipe in ``MEMORYD_READY_FD``. It writes one byte
after its warm-up. The pipe then stays open for as long as the child serves: its end is how the supervisor learns, before
any exit status, that nobody will accept any more. A child with the gate also finds the listening socket in
``MEMORYD_LISTEN_FD``; it is shared with the supervisor, so closing it here does not close the port.
"""

import os
import socket

LISTEN_FD = "MEMORYD_LISTEN_FD"
READY_FD = "MEMORYD_READY_FD"


def inherited_listener() -> socket.socket | None:
    """The supervisor's listening socket, or None when this process was not started by one.

    For ``uvicorn.Server(config).serve(sockets=[listener])``, which, unlike ``Config(fd=…)``, keeps the address family.
    """
    number = os.environ.get(LISTEN_FD)
    return None if number is None else socket.socket(fileno=int(number))


def signal_ready() -> None:
    """Tell the supervisor that this process serves. Nothing happens without a supervisor, or the second time."""
    number = os.environ.get(READY_FD)
    if number is None:
        return
    try:
        os.write(int(number), b"1")
    except OSError:
        return  # the supervisor is gone, and the signal it left for that is on its way


def signal_draining() -> None:
    """Tell the supervisor that this process accepts no more, though it may live on to finish what it has.

    Call it before closing the listener: from then on the gate answers. Later calls do nothing.
    """
    number = os.environ.pop(READY_FD, None)
    if number is not None:
        os.close(int(number))
