"""How much the tests of faults try."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Extent:
    """How much is tried.

    Parameters
    ----------
    cases
        ``--faults``: damaged slides, and what the other tests derive from it.
    seed
        ``--faults-seed``: of the first case; the next has the next.
    """

    cases: int
    seed: int

    @property
    def seeds(self) -> range:
        """Of the damaged slides, models and data."""
        return range(self.seed, self.seed + self.cases)

    @property
    def kills(self) -> range:
        """Seeds of the kills of one command: a twentieth."""
        return range(self.seed, self.seed + max(1, self.cases // 20))

    @property
    def all_points(self) -> bool:
        """Whether every crash point is tried, instead of some."""
        return self.cases >= 1000

    @property
    def points(self) -> int:
        """Crash points and errors of one run, where not all are tried."""
        return max(1, self.cases // 40)
