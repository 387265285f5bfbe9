"""The command line: one short function a verb, flags and help made from the types.

Exit status: 0 success; 1 failed, or what was checked is wrong; 2 the command cannot be understood;
75 another process works on the same run or store; 130 interrupted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from lowres.cli import fid, reproduce, runs, search, stores, studies, verdicts
from lowres.cli.app import app, err
from lowres.errors import LowresError, RunBusyError, StoreBusyError
from lowres.work.executor import BUSY_STATUS

__all__ = ["fid", "main", "reproduce", "runs", "search", "stores", "studies", "verdicts"]

INTERRUPTED_STATUS = 130
RESUMABLE = frozenset({"build", "train", "study", "decide", "search", "demo", "reproduce"})


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        arguments: what follows the program's name; the process's own if not given.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    try:
        status = app(words) or 0
    except (RunBusyError, StoreBusyError) as error:
        err.print(f"lowres: {error}")
        status = BUSY_STATUS
    except (LowresError, OSError) as error:
        err.print(f"lowres: {error}")
        status = 1
    except KeyboardInterrupt as interrupt:  # a verb that knows a shorter command names it
        verb, again = next(iter(words), ""), interrupt.args and interrupt.args[0]
        again = again or ("the same command" if verb in RESUMABLE else "")
        err.print(
            f"lowres: interrupted; {f'to resume, run: {again}' if again else 'nothing was written'}"
        )
        status = INTERRUPTED_STATUS
    sys.exit(status)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    """End as on Ctrl-C, so that the work in progress can be left in order."""
    raise KeyboardInterrupt
