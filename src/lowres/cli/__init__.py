"""The command line: one short function a verb, flags and help made from the types.

Exit status: 0 success; 1 failed, or what was checked is wrong; 2 the command cannot be understood;
75 another process works on the same run or store; 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn, TextIO

from rich.console import Console

from lowres.cli.app import app, err, whole_help
from lowres.errors import LowresError, RunBusyError, StoreBusyError, UntrustedError, reason
from lowres.work.executor import BUSY_STATUS
from lowres.work.signals import uninterrupted

INTERRUPTED_STATUS = 130
SHOW_WARNING = warnings.showwarning

RESUMABLE = frozenset({"build", "train", "study", "decide", "search", "demo", "reproduce"})


REMEDIES = {
    errno.ENOSPC: "Free some space on that disk",
    errno.EDQUOT: "Free some space: your quota is used up",
    errno.EROFS: "Choose a folder on a disk that can be written",
    errno.EACCES: "Change the permission, or choose another folder",
    errno.EPERM: "Change the permission, or choose another folder",
    errno.EMFILE: "Allow more open files, such as by: ulimit -n 4096",
    errno.ENFILE: "Close other programs, which have too many files open",
    errno.ENOENT: "Restore it, or find out who removed it",
    errno.EIO: "Check the disk, which may be failing",
}
"""What to do about errors of the system."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        arguments: what follows the program's name; the process's own if not given.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = _show_warning
    # Of the processes that torchrun started, the first one of each machine speaks.
    err.quiet = os.environ.get("LOCAL_RANK", "0") != "0"
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _interrupt)
    try:
        whole_help(words)
        status = app(words, console=Console()) or 0  # of the width that the screen has now
    except (RunBusyError, StoreBusyError) as error:
        err.print(f"lowres: {_indented(error)}")
        status = BUSY_STATUS
    except UntrustedError as error:
        command = shlex.join(["lowres", *words, "--trust", ",".join(error.names)])
        err.print(f"lowres: {error.fact}; if you trust it, run: {command}")
        status = 1
    except LowresError as error:
        err.print(f"lowres: {_indented(error)}")
        status = 1
    except OSError as error:
        err.quiet = False  # it may have happened in this process alone
        err.print(f"lowres: {explained(error, resumes=next(iter(words), '') in RESUMABLE)}")
        status = 1
    except KeyboardInterrupt as interrupt:
        with uninterrupted():
            err.print(f"lowres: interrupted; {_next_of(interrupt, next(iter(words), ''))}")
        status = INTERRUPTED_STATUS
    sys.exit(status)


def _next_of(interrupt: BaseException | None, verb: str) -> str:
    """Return what to run after an interrupt; a verb that knows a command puts it into the first."""
    again = "the same command" if verb in RESUMABLE else ""
    while interrupt is not None:
        if isinstance(interrupt, KeyboardInterrupt) and interrupt.args:
            again = interrupt.args[0]
        interrupt = interrupt.__context__
    return f"to resume, run: {again}" if again else "nothing was written"


def _indented(error: Exception) -> str:
    """Return an error whose further lines cannot look like lines of lowres."""
    return str(error).replace("\n", "\n  ")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning of lowres as a note, and any other as Python does."""
    if category.__module__.startswith("lowres."):
        err.print(f"note: {message}")
    else:
        SHOW_WARNING(message, category, filename, lineno, file, line)


def explained(error: OSError, *, resumes: bool) -> str:
    """Return what failed, what is kept, and what to do."""
    if error.errno is None:
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    remedy = REMEDIES.get(error.errno, "Find out why")
    kept = "What is finished is kept" if resumes else "Nothing was finished"
    if resumes and error.errno == errno.ENOENT:  # it may have been finished work
        kept = "What else is finished is kept"
    again = "which resumes" if resumes else "which begins again"
    return f"{where}{reason(error)}. {kept}. {remedy}; then run the same command, {again}"


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    """End as on Ctrl-C, so that the work in progress can be left in order."""
    raise KeyboardInterrupt
