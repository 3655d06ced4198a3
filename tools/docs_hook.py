"""What the documentation site needs beyond mkdocs.yml, which names this file among its hooks."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
#: Pages of the site that lie at the repository's root, and their names there.
OUTSIDE = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    for page, name in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links between the root and docs/, which are right in the repository, for the site."""
    at_root = page.file.src_uri in OUTSIDE
    for inside, name in OUTSIDE.items():
        markdown = markdown.replace(f"]({'' if at_root else '../'}{name}", f"]({inside}")
    return markdown.replace("](docs/", "](") if at_root else markdown
