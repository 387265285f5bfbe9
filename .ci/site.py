"""What mkdocs does to our pages (mkdocs.yml names this file).

The pages are written for GitHub, too. So links may leave docs/ and be named after their file, and
a fence may say `sh parse`. Docstrings and --help name pages as `docs/training.md`.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
NAMED_AFTER_FILE = re.compile(r"\[[\w/-]+\.md\](?=\(([^)#\s]+\.md)\))")
MENTION = re.compile(r"docs/([\w/-]+\.md)(?![^<]*>)")
LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/, and every file of the repository that a page links to."""
    for name in PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    texts = {file.src_uri: file.content_string for file in files.documentation_pages()}
    for place, text in texts.items():
        for target in LINK.findall(text):
            name = site_path(place, target)
            if (ROOT / name).is_file() and files.get_file_from_path(name) is None:
                files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site, and `sh parse` into `sh`."""
    place = page.file.src_uri
    folder = str(PurePosixPath(place).parent)

    def title(link: re.Match[str]) -> str:
        file = files.get_file_from_path(site_path(place, link[1]))
        return f"[{file.page.title}]" if file and file.page else link[0]

    markdown = NAMED_AFTER_FILE.sub(title, markdown)
    markdown = LINK.sub(lambda link: relpath(site_path(place, link[0]), folder), markdown)
    return re.sub(r"^```sh parse$", "```sh", markdown, flags=re.MULTILINE)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn pages that docstrings and --help mention into links; fail if there is no such page."""

    def link(mention: re.Match[str]) -> str:
        file = files.get_file_from_path(mention[1])
        if file is None:
            raise PluginError(f"{page.file.src_uri} mentions {mention[0]}, which does not exist")
        return f'<a href="{file.url_relative_to(page.file)}">{mention[0]}</a>'

    return MENTION.sub(link, html)


def site_path(place: str, target: str) -> str:
    """Return the place of a link's target on the site, whose root is docs/ and the repository."""
    inside = place if place in PAGES else f"docs/{place}"
    path = normpath(str(PurePosixPath(inside).parent / target))
    return path.removeprefix("docs/")
