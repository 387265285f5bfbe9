"""Plain English: words that readers had to read twice do not come back."""

import io
import re
import tokenize
from pathlib import Path

import pytest

import lowres

SOURCE = Path(lowres.__file__).parent
ROOT = SOURCE.parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if (ROOT / "README.md").exists() else []

BANNED = {
    r"(?<!cannot )(?<!until-)\b(tells?|told|telling)\b": "say, show, report, decide",
    r"\b(mends?|mended|mending)\b": "fix",
    r"\b(goes|go|went|going) on\b": "resume, continue",
    r"\b(bears?|bore|borne)\b": "hold, carry, have",
    r"\bso (many|manieth)\b": "n, this many",
    r"\bin other hands\b": "another process has it",
    r"\bas ever\b": "as usual, unchanged",
    r"\bwhatever the order\b": "in any order",
    r"\bslips? of the pen\b": "a typo",
    r"\b(like|likes) there\b": "counterpart",
    r"\bpictures?\b": "image",
    r"\bspeaks? of\b": "name, mention",
    r"\bare others\b": "differ",
    r"\bhardly\b": "rarely, not",
}
"""A pattern and the words to write instead."""

NOT_RETURN = re.compile(r"^(Gives?|Tells?)\b")
"""A docstring says Return, Read, Write, Check; not Give."""

ALLOWED = {"picture", "{}: {} pictures"}
"""As a value that foreign files hold, a column of Parquet tables; and in the line on a split of
`lowres info`, which scripts of others read."""

MAX_PROSE = 120


def prose_of(path: Path) -> list[tuple[int, str]]:
    """List comments and strings of a module with their lines."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
        if token.type in kinds and token.string.strip("\"'") not in ALLOWED:
            found.append((token.start[0], token.string))
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.name)
def test_code_speaks_plainly(path):
    for line, text in prose_of(path):
        for pattern, instead in BANNED.items():
            match = re.search(pattern, text, re.IGNORECASE)
            assert not match, f"{path}:{line}: {match[0]!r}: write {instead}"
        opening = text.lstrip("rf").strip("\"' \n")
        assert not (text.startswith('"""') and NOT_RETURN.match(opening)), f"{path}:{line}"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_pages_speak_plainly(path):
    inside = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        inside ^= line.startswith("```")
        if inside or line.startswith("```"):
            continue
        assert len(line) <= MAX_PROSE or line.startswith(("|", "http")), f"{path}:{number}: long"
        for pattern, instead in BANNED.items():
            match = re.search(pattern, re.sub(r"`[^`]*`", "", line), re.IGNORECASE)
            assert not match, f"{path}:{number}: {match[0]!r}: write {instead}"
