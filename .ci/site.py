"""What mkdocs does to our pages (mkdocs.yml names this file).

The pages are written for GitHub, too. So links may leave docs/, and a fence may say `sh parse`.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")
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
    markdown = LINK.sub(lambda link: relpath(site_path(place, link[0]), folder), markdown)
    return re.sub(r"^```sh parse$", "```sh", markdown, flags=re.MULTILINE)


def site_path(place: str, target: str) -> str:
    """Return the place of a link's target on the site, whose root is docs/ and the repository."""
    inside = place if place in PAGES else f"docs/{place}"
    path = normpath(str(PurePosixPath(inside).parent / target))
    return path.removeprefix("docs/")
