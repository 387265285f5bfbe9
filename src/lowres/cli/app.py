"""The application that the verbs register with: how its help and its errors look, its consoles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cyclopts import App, CycloptsError, Group, Parameter, UnknownOptionError
from cyclopts.exceptions import MissingArgumentError, UnusedCliTokensError
from rich.console import Console, ConsoleOptions
from rich.text import Text

from lowres.errors import LowresError, nearest
from lowres.text import visible

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel


class FlowingHelp:
    """Shows help as cyclopts does, with the line breaks of the screen, not those of the source.

    The formatter is imported when help is shown: it takes 50 ms.
    """

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        from cyclopts.help.formatters import DefaultFormatter

        for entry in panel.entries:
            _reflow(entry.description)
        DefaultFormatter()(console, options, panel)

    def render_usage(self, console: Console, options: ConsoleOptions, usage: object) -> None:
        from cyclopts.help.formatters import DefaultFormatter

        DefaultFormatter().render_usage(console, options, usage)

    def render_description(self, console: Console, _: ConsoleOptions, description: object) -> None:
        _reflow(description)
        console.print(description)


def _reflow(description: object) -> None:
    """Join the lines of each paragraph."""
    from cyclopts.help.inline_text import InlineText

    if isinstance(description, InlineText) and isinstance(description.primary_renderable, Text):
        paragraphs = description.primary_renderable.plain.split("\n\n")
        joined = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        description.primary_renderable = Text(joined)


def error_text(error: CycloptsError) -> Text:
    """Return what the user sees of a command that cannot be understood, and where help is."""
    words = str(error)
    if isinstance(error, UnknownOptionError):
        flag = error.token.keyword or error.token.value
        known = [name for one in error.argument_collection if one.parse for name in one.names]
        words = " ".join((f"there is no flag {flag};", nearest(flag, known))).rstrip("; ")
    elif isinstance(error, UnusedCliTokensError):
        words = f"too many arguments: {' '.join(error.unused_tokens or ())}"
    elif isinstance(error, MissingArgumentError) and error.argument is not None:
        words = f"{error.argument.name} is missing"
        if error.keyword is not None:
            words = f"{error.keyword} needs a value"
    command = " ".join(("lowres", *(error.command_chain or ()), "--help"))
    return Text(f"lowres: {visible(words)}\nfor help, run: {command}")


class PlainConsole(Console):
    """Prints texts as they are, and control characters in them escaped: names may hold any."""

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401  as rich has it
        super().print(*(visible(o) if isinstance(o, str) else o for o in objects), **options)

    def lines(self, texts: Iterable[str]) -> None:
        """Print each text as one line: a line feed in it is escaped, too."""
        for text in texts:
            self.print(text.replace("\n", r"\u000a"))


err = PlainConsole(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
out = PlainConsole(highlight=False, markup=False, emoji=False, soft_wrap=True)
app = App(
    name="lowres",
    help="Small-pixel variants of labelled image sets: build, load, train, and judge how far "
    "they stand in for the large set.",
    default_parameter=Parameter(
        consume_multiple=True,
        negative_bool=(),
        negative_iterable=(),
        show_default=lambda value: None if value == () or value is False else value,
    ),
    help_format="plaintext",  # the text is plain, and a reader of Markdown takes 0.1 s to load
    help_formatter=FlowingHelp(),
    error_console=err,
    error_formatter=error_text,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)

STORES = Group.create_ordered("Image sets and stores")
TRAINING = Group.create_ordered("Training and studies")
MORE = Group.create_ordered("More")
for flag in ("--help", "--version"):
    app[flag].group = MORE
app.register_install_completion_command(
    help="Make the Tab key of your shell complete verbs and flags.", group=MORE
)


@app.command(name="help", group=MORE)
def show_help(*verb: str) -> None:
    """Show this help, or that of a verb: lowres help build.

    Args:
        verb: Verb to explain. Default: all verbs.
    """
    unknown = app.parse_commands(verb)[2]
    if unknown:
        hint = nearest(unknown[0], app, "run: lowres --help")
        raise LowresError(f"there is no verb {unknown[0]}; {hint}")
    app.help_print(verb)
