"""Which encoding bytes are in that are text and not UTF-8, and say nothing of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

# What such files are in: Windows' and Unix's tables. Those of DOS and the old Macintosh would often fit as well, by chance, and
# are asked for where none of these is likely.
_CANDIDATES = (
    "cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257", "cp1258", "cp1251", "koi8_r", "koi8_u", "cp866", "iso8859_5", "cp1253",
    "iso8859_7", "iso8859_6", "cp1255", "cp1256", "cp874", "cp932", "euc_jp", "gb18030", "big5hkscs", "cp949",
)  # fmt: skip
# In these, a single byte or one and a letter of ASCII may be a character; of a text in them, most bytes stand side by side.
_ASIAN = ("cp932", "euc_jp", "gb18030", "big5hkscs", "cp949")
_CENTRAL = ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţ", "čćđšž")
# Letters beyond ASCII of the languages that Latin tables are for, the likelier table first.
_LETTERS = {
    "cp1252": (
        "àâæçéèêëîïôœùûüÿ", "äöüß", "áéíñóúüªº¿¡", "àáâãçéêíóôõúüªº", "àèéìíîòóùú", "åäöé", "æøåéäö", "áæðéíóöúýþ",
        "áéèëêïíóöüúû", "àçéèíïóòúü·",
    ),
    "cp1250": _CENTRAL,
    "iso8859_2": _CENTRAL,
    "cp1254": ("çğıi̇öşüâîû",),
    "cp1257": ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž"),
    "cp1258": (),
}  # fmt: skip
_SIGNS = frozenset("«»“”„‘’‚–—…•·€£§°´\xa0\xad")
_BEYOND = re.compile(rb"[\x80-\xff]")
_LONE = re.compile(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])")
# Signs where texts have them: before a word, behind one, or beside none. In other tables the same bytes are letters of words.
_PLACED = re.compile(
    r"’|(?<!\w)[“„‘‚«‹§€•](?!\s*[^\x00-\x7f])|[”»›…°²](?![^\W\d_])|(?<=[\w)])[®™](?![^\W\d_])|"
    r"(?<![^\W\d_])[©¶£€¥¢–—·±×÷¹³¼½¾\xa0](?![^\W\d_])"
)
# Of the characters beyond ASCII, this share is in one language's alphabet, or the text is in none of these tables.
_MOST = 0.75
# A byte that is none of the table, in a word or at its edge: likely a letter of another table, unless there are far more others.
_LETTER_LOST = re.compile(r"[^\W\d_]\ufffd|\ufffd[^\W\d_]")
_SELDOM = 0.1
# Windows' Western table has all that is in these.
_WESTERN = ("ascii", "latin_1", "iso8859_1", "utf_8")


def guess(sample: bytes, *, whole: bool, said: str = "") -> str | None:
    """The likeliest encoding of a text, or ``None`` where none is likely; a sample that is not the ``whole`` of it may be cut
    within a character.

    What the sender ``said``, where that is a table of Latin letters, stays if an alphabet of it fits; others may fit as well. But
    bytes that stand side by side are seldom Latin letters, whatever they look like, nor does it stay where it lacks letters.
    Else charset-normalizer tells scripts apart. Among tables of Latin letters, where it goes by the frequency of ASCII's letters
    and is wrong about most short texts, the alphabets of languages decide; where none of them fits, it is asked for any table at
    all. Nor is it asked about a few signs in what is otherwise ASCII, or believed that they are Japanese.
    """
    import charset_normalizer

    lines = sample.splitlines()
    # What is ASCII is the same in all of them.
    telling = [[line for line in some if not line.isascii()] for some in (lines if whole else lines[1:-1], lines)]
    evidence = b"\n".join(telling[0] or telling[1])
    beyond = len(_BEYOND.findall(evidence))
    lone = len(_LONE.findall(evidence)) >= _MOST * beyond
    fits = lone and said in _LETTERS and _share(evidence, said, _LETTERS[said]) >= _MOST
    if fits and _lost(evidence, said) <= _SELDOM * beyond:
        return said
    if lone and _share(evidence, "cp1252", ()) >= _MOST:
        return "cp1252"
    found = [match.encoding for match in charset_normalizer.from_bytes(evidence, cp_isolation=list(_CANDIDATES))]
    shares = {encoding: _share(evidence, encoding, alphabets) for encoding, alphabets in _LETTERS.items()}
    latin = max(shares, key=lambda encoding: shares[encoding])
    if found and found[0] not in _LETTERS and not (lone and found[0] in _ASIAN and shares[latin] >= _MOST):
        return found[0]
    if shares[latin] >= _MOST:
        return latin
    best = charset_normalizer.from_bytes(evidence).best()
    if best is not None:
        return "cp1252" if best.encoding in _WESTERN else best.encoding
    others = [encoding for encoding in found if encoding not in _LETTERS]
    return next(iter(others or found), None)


def _share(evidence: bytes, encoding: str, alphabets: Iterable[str]) -> float:
    """Of the characters beyond ASCII, how many are signs that stand where signs do, or in the one alphabet that has the most."""
    text = evidence.decode(encoding, errors="replace").lower()
    others = [one for one in _PLACED.sub("", text) if not one.isascii()]
    beyond = sum(not one.isascii() for one in text)
    most = max((sum(one in letters or one in _SIGNS for one in others) for letters in alphabets), default=0)
    return (beyond - len(others) + most) / max(beyond, 1)


def _lost(evidence: bytes, encoding: str) -> int:
    return len(_LETTER_LOST.findall(evidence.decode(encoding, errors="replace")))
