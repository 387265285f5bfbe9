"""The command line: one short function a verb, flags and help made from the types.

Exit status: 0 done; 1 it could not be done, or what was checked is wrong; 2 the command was not
understood; 75 another process is at it; 130 interrupted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from lowres.cli import runs, search, stores, studies
from lowres.cli.app import app, err
from lowres.errors import LowresError, RunBusyError, StoreBusyError
from lowres.work.executor import BUSY_STATUS

__all__ = ["main", "runs", "search", "stores", "studies"]

INTERRUPTED_STATUS = 130
RESUMED = frozenset({"build", "train", "study", "search", "demo"})
"""The verbs that go on where they were."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        arguments: what follows the program's name; the process's own if not given.
    """
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    try:
        status = app(arguments) or 0
    except (RunBusyError, StoreBusyError) as error:
        err.print(f"lowres: {error}")
        status = BUSY_STATUS
    except (LowresError, OSError) as error:
        err.print(f"lowres: {error}")
        status = 1
    except KeyboardInterrupt:
        verb = next(iter(sys.argv[1:] if arguments is None else arguments), "")
        end = "the same command goes on from here" if verb in RESUMED else "nothing was written"
        err.print(f"lowres: interrupted; {end}")
        status = INTERRUPTED_STATUS
    sys.exit(status)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    """End as on Ctrl-C, so that what is under way can be left in order."""
    raise KeyboardInterrupt
