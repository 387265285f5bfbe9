"""The application that the verbs register with, and the consoles they print to."""

from __future__ import annotations

from typing import Any

from cyclopts import App, Parameter
from rich.console import Console


def _shown_default(value: object) -> object:
    """Show no default where leaving a flag out means something that its help tells."""
    return None if value == () else value


class _Flowing:
    """Shows help with the line breaks of the screen, not those of the source."""

    def render_usage(self, console: Console, options: Any, usage: Any) -> None:  # noqa: ANN401
        from cyclopts.help.formatters import DefaultFormatter

        DefaultFormatter().render_usage(console, options, usage)

    def __call__(self, console: Console, options: Any, panel: Any) -> None:  # noqa: ANN401  theirs
        from cyclopts.help.formatters import DefaultFormatter
        from rich.text import Text

        for entry in panel.entries:
            text = getattr(entry.description, "primary_renderable", None)
            if isinstance(text, Text):
                entry.description.primary_renderable = Text(" ".join(text.plain.split()))
        DefaultFormatter()(console, options, panel)


app = App(
    name="lowres",
    help="Small-pixel variants of labelled image sets: build, load, train, and judge how far "
    "they stand in for the large set.",
    default_parameter=Parameter(
        consume_multiple=True, negative_iterable=(), show_default=_shown_default
    ),
    help_format="plaintext",  # the text is plain, and a reader of Markdown takes 0.1 s to load
    help_formatter=_Flowing(),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
