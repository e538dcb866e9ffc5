"""Work in child processes: the viewer stays fluid while they compute, and survives their crash.

The viewer's process never imports torch: importing it alone would stop the viewer for half a
second, and the memory of a GPU only comes back with the end of the process that took it.
"""

from napari_nh2st.jobs.child_process import JobFailed
from napari_nh2st.jobs.pool import Job, JobPool

__all__ = ["Job", "JobFailed", "JobPool"]
