"""Work in child processes: what the viewer starts, so that it stays fluid and survives a crash.

The viewer's process never imports torch: importing it alone would stop the viewer for half a
second, and the memory of a GPU only comes back with the end of the process that took it.
"""

from napari_nh2st.jobs.process import Job, JobFailed, JobProcess

__all__ = ["Job", "JobFailed", "JobProcess"]
