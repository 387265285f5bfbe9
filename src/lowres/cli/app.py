"""The application: its verbs, how its help and its errors look, its consoles.

Only the module of the verb that is called is imported, so that `lowres --help` starts at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cyclopts import App, CycloptsError, Group, Parameter, UnknownOptionError
from cyclopts.exceptions import MissingArgumentError, UnknownCommandError, UnusedCliTokensError
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
    command = " ".join(("lowres", *(error.command_chain or ()), "--help"))
    return Text(f"lowres: {visible(_in_words(error))}\nfor help, run: {command}")


def _in_words(error: CycloptsError) -> str:
    if isinstance(error, UnknownOptionError):
        flag = error.token.keyword or error.token.value
        known = [name for one in error.argument_collection if one.parse for name in one.names]
        return " ".join((f"there is no flag {flag};", nearest(flag, known))).rstrip("; ")
    if isinstance(error, UnknownCommandError) and error.app and error.unused_tokens:
        # The words of cyclopts import all verbs.
        word = error.unused_tokens[0]
        noun = "flag" if word.startswith("-") else "verb"
        known = [name for name in error.app if name.startswith("-") == word.startswith("-")]
        return " ".join((f"there is no {noun} {word};", nearest(word, known))).rstrip("; ")
    if isinstance(error, UnusedCliTokensError):
        return f"too many arguments: {' '.join(error.unused_tokens or ())}"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        if error.keyword is not None:
            return f"{error.keyword} needs a value"
        return f"{error.argument.name} is missing"
    return str(error)


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
VERBS = (
    (STORES, "builds:build", "Build a store of small variants from labelled images."),
    (STORES, "builds:info",
     "Describe a store, run, study, search or set of images; say which ImageNet32 a set is."),
    (STORES, "stores:verify", (
     "Check a store by its checksums, or compare it with another set, image "
     "by image in any order.")),
    (STORES, "stores:check",
     "Look for duplicates and leaks between splits, blank images and imbalance."),
    (STORES, "stores:show", "Draw a contact sheet: the same images across sizes and filters."),
    (STORES, "exports:export",
     "Write one variant of a store in a format that other tools read, or a study as a benchmark."),
    (STORES, "exports:publish",
     "Push one variant of a store to the Hugging Face Hub, as Parquet with its card."),
    (STORES, "exports:fid",
     "Write the reference statistics of FID for one variant, as EDM and ADM read them."),
    (TRAINING, "runs:train",
     "Train a network on a store, or finish a run that was planned or interrupted."),
    (TRAINING, "studies:study",
     "Train every combination of some recipe fields, or resume a study."),
    (TRAINING, "reports:status",
     "Show how the runs of a study stand: finished, running, failed and why, and the time left."),
    (TRAINING, "search:search",
     "Search recipe fields: many configurations on small images, the best on large ones."),
    (TRAINING, "reports:report",
     "Write a report into the folder of a study, and print its verdicts."),
    (TRAINING, "verdicts:judge",
     "Judge whether the proxy's results can stand in for the target's, without training."),
    (TRAINING, "verdicts:decide",
     "Train the runs that decide soonest, until the verdict on a study is sure."),
    (TRAINING, "reproduce:reproduce",
     "Reproduce a cell of the paper's Table 1: build its store and train its network."),
    (MORE, "reports:demo",
     "Run the whole pipeline on real images without a download: build, verify, train, report."),
    (MORE, "builds:bench", "Measure how fast this machine works on your own images."),
)  # fmt: skip
"""The verbs in the order of the work: group, module and function in `cli/`, and the first line of
its help, which the overview shows without an import."""

for place, (group, path, summary) in enumerate(VERBS):
    app.command(f"lowres.cli.{path}", group=group, sort_key=place, help=summary)

for flag in ("--help", "--version"):
    app[flag].group = MORE
app.command(
    "lowres.cli.completion:install", name="--install-completion", group=MORE,
    help="Make the Tab key of your shell complete verbs and flags.",
)  # fmt: skip


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
    whole_help(verb)
    app.help_print(verb)


def whole_help(words: Iterable[str]) -> None:
    """Let the verb that a command begins with show its whole docstring, not its summary alone."""
    chosen = app
    for word in words:
        if word.startswith("-") or word not in chosen:
            break
        chosen = chosen[word]
        if chosen.default_command is not None:
            chosen.help = None
