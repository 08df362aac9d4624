"""The names under which pages and mails declare their encoding, as the WHATWG Encoding Standard reads them."""

from __future__ import annotations

import codecs

# By Python's name of an encoding, or by a label that Python does not know. Senders say the narrow name and send the wide one:
# "iso-8859-1" is Windows' code page with € and “ ”, where Python has control characters that nobody means.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "euc_kr": "cp949",
    "windows-949": "cp949",
    "iso-8859-8-i": "iso8859-8",
}
# Codecs of Python that no text is sent in, some of which take hours for a megabyte.
NO_TABLES = frozenset(("idna", "punycode", "unicode-escape", "raw-unicode-escape", "utf-7", "undefined"))


def superset(label: str) -> str:
    """The codec that decodes what is labelled so; the label itself if neither Python nor the standard knows it.

    cp1252 decodes nearly every sequence of bytes: try UTF-8 before it where the label may be wrong.
    """
    label = label.strip().lower()
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        name = label
    return _SUPERSETS.get(name, name)
