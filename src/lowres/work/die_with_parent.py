"""A program that runs another one, which gets SIGTERM when its parent process ends.

`python die_with_parent.py PARENT PROGRAM ARGUMENT...` runs a job on a machine of a cluster, where
the parent may be killed at any moment. It needs the standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

ON_PARENTS_DEATH = 1
"""`PR_SET_PDEATHSIG` of Linux's prctl; it stays when the process becomes another program."""


def main() -> None:
    """Tie this process to its parent and become the program."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(ON_PARENTS_DEATH, signal.SIGTERM)
    if os.getppid() != parent:  # it has ended already
        sys.exit(128 + signal.SIGTERM)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
