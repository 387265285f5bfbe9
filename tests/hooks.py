"""Displays of progress that act, so that a test can stop or fail a run at a chosen point."""

from contextlib import contextmanager

from lowres.progress import Display


def hooked(**methods):
    """Return a track whose display calls these functions: advance, say, note."""

    @contextmanager
    def track(_what, _total, *, done=0):
        display = Display()
        for name, method in methods.items():
            setattr(display, name, method)
        yield display

    return track


def interrupted_after(epochs):
    """Return a track that interrupts a run after a number of epochs, as a second Ctrl-C does."""

    def say(text):
        if text.startswith(f"epoch {epochs}/"):
            raise KeyboardInterrupt

    return hooked(say=say)
