"""Markdown of any shape: every word that is shown is in a block, once and in its place."""

import io
import re
from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingestion.parse.formats.markdown import read
from ingestion.parse.limits import ParseLimits
from ingestion.parse.pieces import Facts, finish
from ingestion.parse.source import Source

# ``@`` is a word. Lines that open, close or look like something, whatever stands around them.
_LINES = (
    "", "@", "  @", "    @", "\t@", "        @", "@\\", "# @", "   ## @ #", "===", "---", "  ---", "- - -", "+++", "key: @",
    "title: @", "- @", "* @", "1. @", "2) @", "   - @", "    - @", "-", "1.", "- [ ] @", "- ```", "```", "   ```", "    ```",
    "~~~", ">", "> @", "| @ | @ |", "|---|---|", "| @", "@ | @", "  | @ | @ |", "$$", "$$ @", "!!! @", '=== "@"', "::: @",
    "[^@]: @", "[@]: http://@", "<!-- no -->", "<!-- no --> @", "@ <!-- no --> @", "<!--", "-->", "--> @", "<div>", "</div>",
    "<p>@</p>", "<header>@</header>", "<b>@</b>", "<br>", "&amp; @", "<ul><li>@</li></ul>", "<pre>", "</pre>", "</pre> @",
    "<details><summary>@</summary>", "</details>", "<table>", "</table>", "<tr><td>@</td><td>@</td></tr>", "<tr><th>@</th><td>",
    "<td>", "</td>", "</td></tr>", "<li>no <pre> @", "<table>@<td>@",
)  # fmt: skip
_WORD = re.compile(r"w\d+x")


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(st.sampled_from(_LINES), min_size=1, max_size=25))
@example(lines=["+++", "+++", "# @"])
@example(lines=["<table>", "2) @", "<pre>", "<!--", "@"])
@example(lines=["<table>", "@", "<tr><th>@</th><td>", "<table>", "| @ | @ |"])
def test_no_word_is_lost(lines: Sequence[str]) -> None:
    text = _numbered("\n".join(lines))
    shown = _WORD.findall(re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL))
    content = text.encode()
    source = Source(io.BytesIO(content), len(content), ParseLimits())
    found = _WORD.findall("\n".join(piece.text for piece in finish(read(source, Facts()))))
    assert set(shown) <= set(found)
    if "<table>" not in text:
        assert found == sorted(found, key=lambda word: int(word[1:-1]))
        assert len(found) == len(set(found))


def _numbered(text: str) -> str:
    parts = text.split("@")
    return parts[0] + "".join(f"w{number}x{part}" for number, part in enumerate(parts[1:]))
