"""Errors that end the run of a cohort before its last slide."""

from napari_nh2st.errors import InputError


class CohortStopped(RuntimeError):
    """The fault is not with one slide; finished work stays, and the same call resumes."""


class SchedulerLost(CohortStopped):
    """The scheduler of the workers is gone."""


class OutputLost(InputError):
    """Nothing more can be written, so that no further slide is tried."""
