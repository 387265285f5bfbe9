"""The contract of executors lives in `lowres.testing`, for executors of other packages too."""

from lowres.testing import ExecutorContract, python_job as python

__all__ = ["ExecutorContract", "python"]
