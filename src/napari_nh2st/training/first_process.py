"""Lifetime of processes that train together: the others end with the first one.

The engine starts the running command again for each further device. What such a process waits for
in a collective step may never come when the first one is killed, and it would hold its device.
"""

import contextlib
import os
import socket
import sys
import threading

_PORT = "NH2ST_FIRST_PROCESS_PORT"
"""Environment variable in which the first process says where it listens."""

_CONNECT_S = 10.0

_open: list[socket.socket] = []


def is_helper() -> bool:
    """Whether this process was started to help another one."""
    return int(os.environ.get("LOCAL_RANK", "0")) > 0


def end_with_first_process() -> None:
    """Tie the processes together: before the first starts the others, and in each of those.

    The system closes the sockets of a process however it ends, and the other side notices at once.
    Where something else started the processes, such as Slurm, that ends them too.
    """
    if _open:
        return
    if not is_helper():
        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        _open.append(listening)
        os.environ[_PORT] = str(listening.getsockname()[1])
        if sys.flags.safe_path:  # what was asked of the first process holds for the others
            os.environ["PYTHONSAFEPATH"] = "1"
    elif _PORT in os.environ:
        try:
            first = socket.create_connection(("127.0.0.1", int(os.environ[_PORT])), _CONNECT_S)
        except ConnectionRefusedError:  # it has ended already
            os._exit(1)
        except OSError:
            return
        first.settimeout(None)
        _open.append(first)
        threading.Thread(
            target=_wait, args=(first,), name="nh2st-first-process", daemon=True
        ).start()


def _wait(first: socket.socket) -> None:
    with contextlib.suppress(OSError):
        first.recv(1)  # it never sends anything
    os._exit(1)
