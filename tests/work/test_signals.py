"""Signals that come while a process tidies up."""

import os
import signal

import pytest

import lowres.cli
from lowres.work.signals import uninterrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_block_ends_before_a_signal_counts(number):
    before = signal.getsignal(number)
    with uninterrupted():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_a_second_interrupt_keeps_the_command_of_the_first(monkeypatch, capsys):
    """The second one came while the verb ended its processes."""

    def verb(*_, **__):
        try:
            raise KeyboardInterrupt("lowres train RUN")
        finally:
            raise KeyboardInterrupt

    monkeypatch.setattr(lowres.cli, "app", verb)
    monkeypatch.setattr(lowres.cli, "whole_help", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        lowres.cli.main(["train", "STORE"])
    assert ended.value.code == 130
    assert "to resume, run: lowres train RUN" in capsys.readouterr().err
