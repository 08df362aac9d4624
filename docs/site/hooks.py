"""What MkDocs does beside the pages of this folder: pages from the code, diagrams, links that leave the folder."""

import re
from typing import Any

import rest
import tools
from diagrams import drawn
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)")
_REST = "REST API: operations"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The pages of the REST API's tags stand where the navigation names them together."""
    for section in config.nav or ():
        for entries in section.values():
            for entry in entries if isinstance(entries, list) else ():
                if _REST in entry:
                    entry[_REST] = [{title: path} for path, (title, _) in rest.pages().items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages that are made of code."""
    made = {path: markdown for path, (_, markdown) in rest.pages().items()} | {"mcp-tools.md": tools.page()}
    for path, markdown in made.items():
        files.append(File.generated(config, path, content=markdown))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Diagrams drawn; a link to a file that the site does not have tells where the file is."""
    return _OUTSIDE.sub(r"\1 (`\2` of the repository)", drawn(markdown)) if "/" not in page.file.src_uri else markdown
