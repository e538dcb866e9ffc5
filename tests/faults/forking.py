"""Cases in processes of their own, with bounds on their time and memory.

Importing torch and anndata takes seconds. So one server process imports them once, runs nothing,
and forks itself for each case: a child costs milliseconds, and what happens to it happens to no
other. The server is a program of its own (``python forking.py``), since a process that runs tests
has threads, which a fork does not survive.
"""

import contextlib
import faulthandler
import importlib
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

HERE = Path(__file__).parent

SECONDS = 30.0
MEGABYTES = 2048
"""What a case may take, the imported libraries' share included."""

_WATCHED_EVERY_S = 0.02
_LINES_OF_STDERR = 30
_LINES_OF_TRACE = 16


@dataclass(frozen=True)
class Raised:
    """An exception that ended a case.

    Parameters
    ----------
    kind
        Names of its class and of that class's bases, itself first.
    message
        Its text.
    trace
        The traceback, for whoever looks into it.
    """

    kind: tuple[str, ...]
    message: str
    trace: str


@dataclass(frozen=True)
class Ended:
    """How a case ended.

    Parameters
    ----------
    how
        ``"returned"``, ``"raised"``, ``"killed"`` (as was asked for), ``"crashed"``, ``"hung"``
        (beyond the seconds) or ``"grew"`` (beyond the memory).
    value
        What the function returned, or a :class:`Raised`.
    seconds, megabytes
        Time that it ran, and the most memory that it held.
    signal
        That ended it; 0 for none.
    stderr
        The last lines that it printed there.
    """

    how: str
    value: Any
    seconds: float
    megabytes: float
    signal: int
    stderr: str

    def in_words(self) -> str:
        """What a failed test prints."""
        text = f"{self.how} after {self.seconds:.1f} s, {self.megabytes:.0f} MB"
        if self.signal:
            text += f", signal {self.signal}"
        if isinstance(self.value, Raised):
            text += "\n" + "\n".join(self.value.trace.splitlines()[-_LINES_OF_TRACE:])
        return f"{text}\n{self.stderr}".rstrip()


class ForkServer:
    """Runs functions in forks of a process that has imported what they need.

    Parameters
    ----------
    modules
        What it imports first. Functions of any module of this folder can be run; those named here
        are ready.
    folder
        For its files, and the cache of the package.
    """

    def __init__(self, modules: Sequence[str], folder: Path) -> None:
        environment = os.environ | {
            "NH2ST_CACHE": str(folder / "cache"),
            "MPLBACKEND": "Agg",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parent))),
        }
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(folder), *modules],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        seconds: float = SECONDS,
        megabytes: float = MEGABYTES,
        kill_after: float | None = None,
    ) -> Ended:
        """Run one function to its end.

        Parameters
        ----------
        function
            Of a module in this folder, by whose name the server finds it.
        arguments
            Of the function; they are pickled, and so is what it returns.
        seconds, megabytes
            The bounds.
        kill_after
            Seconds after which it is killed (SIGKILL), as a user or a power cut would.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = (function.__module__, function.__name__, arguments, seconds, megabytes, kill_after)
        _send(self._process.stdin, order)
        answer: Ended = _receive(self._process.stdout)
        return answer

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _send(file: BinaryIO | Any, content: Any) -> None:
    data = pickle.dumps(content)
    file.write(len(data).to_bytes(8, "little") + data)
    file.flush()


def _receive(file: BinaryIO | Any) -> Any:
    head = file.read(8)
    if len(head) < 8:
        raise EOFError
    return pickle.loads(file.read(int.from_bytes(head, "little")))


def _child(order: tuple[Any, ...], result: Path, stderr: Path) -> None:
    """Run the case and leave its result in a file; never returns."""
    try:
        with stderr.open("wb") as file:
            os.dup2(file.fileno(), 2)
        faulthandler.enable()
        # A case that asks for terabytes at once gets an error and not the machine's swap.
        most = 16 * MEGABYTES * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        module, name, arguments, *_ = order
        try:
            value, how = getattr(importlib.import_module(module), name)(*arguments), "returned"
        except BaseException as error:
            kind = tuple(cls.__name__ for cls in type(error).__mro__)
            value, how = Raised(kind, str(error), traceback.format_exc()), "raised"
        result.write_bytes(pickle.dumps((how, value)))
    finally:
        os._exit(0)


def _watched(pid: int, seconds: float, megabytes: float, kill_after: float | None) -> str:
    """Wait for a child's end, and see to it; why it was ended, or ``""``."""
    began = time.monotonic()
    deadline = seconds if kill_after is None else min(seconds, kill_after)
    why = ""
    handle = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        while True:
            left = deadline - (time.monotonic() - began)
            if poll.poll(max(0.0, 1000 * min(left, _WATCHED_EVERY_S))):
                return why
            if why:
                continue
            if left <= 0:
                why = "hung" if kill_after is None or seconds < kill_after else "killed"
            elif _resident_megabytes(pid) > megabytes:
                why = "grew"
            if why:
                os.kill(pid, signal.SIGKILL)
                deadline = float("inf")
    finally:
        os.close(handle)


def _resident_megabytes(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
        return pages * resource.getpagesize() / 2**20
    return 0.0


def _case(order: tuple[Any, ...], folder: Path) -> Ended:
    *_, seconds, megabytes, kill_after = order
    result, stderr = folder / "result", folder / "stderr"
    result.unlink(missing_ok=True)
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(order, result, stderr)
    why = _watched(pid, seconds, megabytes, kill_after)
    _, status, usage = os.wait4(pid, 0)
    peak = usage.ru_maxrss / 1024
    how, value = "crashed", None
    if result.exists():  # it may have ended just before it was to be killed
        with contextlib.suppress(Exception):
            how, value = pickle.loads(result.read_bytes())
            why = ""
    if peak > megabytes:
        how, value = "grew", None
    lines = stderr.read_text(errors="replace").splitlines() if stderr.exists() else []
    died = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    text = "\n".join(lines[-_LINES_OF_STDERR:])
    return Ended(why or how, value, time.monotonic() - began, peak, died, text)


def _serve(folder: Path, modules: Sequence[str]) -> None:
    orders, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    for module in modules:
        importlib.import_module(module)
    while True:
        try:
            order = _receive(orders)
        except EOFError:
            return
        with tempfile.TemporaryDirectory(dir=folder) as own:
            ended = _case(order, Path(own))
        _send(answers, ended)


if __name__ == "__main__":
    # Under its own name, so that what it sends is of the classes that the other side knows.
    import forking

    forking._serve(Path(sys.argv[1]), sys.argv[2:])
