"""The display of long work where standard error is no terminal, and in a terminal."""

import os
import pty
import subprocess
import sys
import time

import pytest

from lowres import progress


def test_a_line_at_the_end_and_none_if_the_work_fails(capsys):
    with progress.shown("build", 10, done=4) as display:
        display.advance(6)
        display.say("by the way")
    by_the_way, end = capsys.readouterr().err.splitlines()
    assert by_the_way == "by the way"
    assert end.startswith("build: 10/10, ")

    def fail():
        with progress.shown("build", 10):
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert capsys.readouterr().err == ""


def test_the_estimate_starts_after_the_restart(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress.shown("build", 100, done=10) as display:
        now[0] = 100.0  # compiling
        display.restart()
        display.note("halfway")
        now[0] = 110.0
        display.advance(40)
    assert "build: halfway, 50/100, 4/s, 12 s left" in capsys.readouterr().err


def test_silence(capsys):
    with progress.silent("build", 3) as display:
        display.advance()
        display.restart()
        display.note("x")
        display.say("x")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_keeps_one_line_and_no_bar():
    code = """
from lowres.progress import shown
with shown("build", 3) as display:
    display.advance(2)
    display.restart()
    display.note("[x]")
    display.say("[bold]words")
    display.advance()
"""
    main, other = pty.openpty()
    screen = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", code], stderr=other, check=True, env=screen)
    os.close(other)
    output = b""
    try:
        while piece := os.read(main, 65536):
            output += piece
    except OSError:  # the end, on Linux
        pass
    finally:
        os.close(main)
    text = output.decode()
    assert "[bold]words" in text
    assert "[x]" in text
    last = text.splitlines()[-1]
    assert "\x1b[2Kbuild: 3/3, " in last
