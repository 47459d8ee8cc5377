"""A queue of long computations on this machine, without a daemon.

Submitting a job makes sure that a detached worker runs (``engine.jobs.worker``); the worker takes jobs one
after another, each in a process of its own (``engine.jobs.run``), and leaves when nothing is left to do.
This package loads neither torch nor Streamlit: the dashboard opens with it.
"""

from engine.jobs.job import Job, JobError, JobStatus
from engine.jobs.progress import Progress, ProgressReporter
from engine.jobs.queue import JobQueue

__all__ = ["Job", "JobError", "JobQueue", "JobStatus", "Progress", "ProgressReporter"]
