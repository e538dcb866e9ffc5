"""How the threads of a computation wait for each other.

By default a thread of OpenMP that is done spins until the others are, a few milliseconds at a time.
Where other programs use the machine as well, or a process may use fewer cores than it has threads,
this takes the cores from those it waits for: half of the speed and of the CPU time are lost.
"""

import os
from collections.abc import Mapping

_WAITS = {
    "GOMP_SPINCOUNT": "1000",  # some microseconds: torch's own OpenMP on Linux
    "OMP_WAIT_POLICY": "PASSIVE",  # the others
}


def short_waits(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables with which threads soon sleep, for processes that have not imported torch yet.

    Parameters
    ----------
    environment
        That of this process by default. What it says itself of how threads wait is left as it is.

    Returns
    -------
    dict
        What is to be added to it.
    """
    given = os.environ if environment is None else environment
    if any(name in given for name in (*_WAITS, "KMP_BLOCKTIME")):
        return {}
    return dict(_WAITS)
