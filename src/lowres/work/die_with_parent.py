"""A program that runs another and has it asked to end when the process that started it is gone.

For a piece on a machine of a cluster, whose worker may be killed at any moment:
`python tied.py PARENT PROGRAM ARGUMENT...`. Needs nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

ON_PARENTS_DEATH = 1
"""`PR_SET_PDEATHSIG` of Linux's prctl; it outlives the call of another program."""


def main() -> None:
    """Tie this process to its parent and become the program."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(ON_PARENTS_DEATH, signal.SIGTERM)
    if os.getppid() != parent:  # it was gone before
        sys.exit(128 + signal.SIGTERM)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
