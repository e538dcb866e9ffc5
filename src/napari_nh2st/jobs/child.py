"""Program of a child process: ``python -m napari_nh2st.jobs.child [MODULE ...]`` runs jobs.

Messages come pickled on the standard input and go out on the standard output. When the input
ends, the parent is gone: the job is asked to stop, and the process ends.
"""

import contextlib
import logging
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pkgutil import resolve_name
from typing import IO, Any

from napari_nh2st.errors import InputError
from napari_nh2st.jobs.messages import Event, Failed, Finished, Message, Run, Send, Stop
from napari_nh2st.log_file import log_as_parent

JOBS: Mapping[str, str] = {
    "predict": "napari_nh2st.jobs.prediction:predict",
    "predict_cohort": "napari_nh2st.jobs.cohort:predict_cohort",
    "devices": "napari_nh2st.jobs.prediction:devices",
    "compare": "napari_nh2st.jobs.comparison:compare",
    "compare_architectures": "napari_nh2st.jobs.architecture_comparison:compare_architectures",
    "report": "napari_nh2st.jobs.comparison:write_report",
    "train": "napari_nh2st.jobs.training:train",
}
"""Name → ``module:function``. A job takes an :class:`Inbox` and keywords, and yields events."""

_log = logging.getLogger(__name__)

_NICENESS = 5
"""Below the viewer's priority, so that this stays fluid on few cores."""

_PATIENCE_S = 4.0
"""How long a job may take to store what it has once the parent is gone."""


class Inbox:
    """Requests to the job that runs: to stop, and whatever else it listens to."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._listener: Callable[[Any], None] | None = None
        self._last: list[Any] = []

    def stopped(self) -> bool:
        """Whether the job is to end with what it has."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask the job to end."""
        self._stop.set()

    def listen(self, listener: Callable[[Any], None]) -> None:
        """Call this from now on, in another thread, with what is sent to the job."""
        self._listener = listener
        while self._last:
            listener(self._last.pop())

    def put(self, content: Any) -> None:
        """Pass something on to the job; the last of it is kept until the job listens."""
        if self._listener is None:
            self._last = [content]
        else:
            self._listener(content)


Job = Callable[..., Iterator[Any]]

_Waiting = queue.SimpleQueue[tuple[Run, Inbox] | int]
"""Jobs, and in the end the code to exit with."""


def find_job(name: str) -> Job:
    """The function of a job."""
    job: Job = resolve_name(JOBS[name])
    return job


def main(warm_up: list[str]) -> int:
    """Run jobs until the input ends; the exit code."""
    # Ctrl-C in a terminal reaches this process too: the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    # Whatever a library prints must not get between the messages.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    waiting: _Waiting = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, waiting), daemon=True).start()
    log_as_parent()
    for module in warm_up:
        with contextlib.suppress(Exception):  # the job that needs it will say so
            import_module(module)
    while not isinstance(task := waiting.get(), int):
        run, inbox = task
        _log.info("job %s: begins", run.job)
        try:
            for event in find_job(run.job)(inbox, **run.arguments):
                _send(out, Event(event))
        except InputError as error:
            _log.error("job %s: %s", run.job, error)
            _send(out, Failed(str(error), True, ""))
        except BrokenPipeError:
            return 1
        except Exception as error:
            _log.exception("job %s", run.job)
            text = f"{type(error).__name__}: {error}"
            _send(out, Failed(text, False, traceback.format_exc()))
        else:
            _log.info("job %s: ended", run.job)
            _send(out, Finished())
    return task


def _send(out: IO[bytes], message: Message) -> None:
    # Whole or not at all: what cannot be pickled is not to leave half a message.
    out.write(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))
    out.flush()


def _listen(stream: IO[bytes], waiting: "_Waiting") -> None:
    """Pass on messages of the parent; in the end, the exit code.

    Those to a job come after its :class:`~napari_nh2st.jobs.messages.Run` and before the next: the
    parent sees to that.
    """
    inbox = Inbox()
    code = 0
    try:
        while True:
            match pickle.load(stream):
                case Run() as run:
                    inbox = Inbox()
                    waiting.put((run, inbox))
                case Send(content):
                    inbox.put(content)
                case Stop():
                    inbox.stop()
    except (EOFError, OSError, pickle.UnpicklingError):  # the parent is gone
        pass
    except Exception:  # where the next message begins is not known any more
        traceback.print_exc()
        code = 1
    inbox.stop()
    waiting.put(code)
    # A job that ignores the stop must not outlive its parent.
    timer = threading.Timer(_PATIENCE_S, os._exit, (1,))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
