"""Which encoding bytes are in that are text and not UTF-8, and say nothing of it."""

from __future__ import annotations

# What such files are in: Windows' and Unix's tables. Those of DOS and the old Macintosh would often fit as well, by chance, and
# are asked for where none of these is likely.
_CANDIDATES = (
    "cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257", "cp1258", "cp1251", "koi8_r", "koi8_u", "cp866", "iso8859_5", "cp1253",
    "iso8859_7", "iso8859_6", "cp1255", "cp1256", "cp874", "cp932", "euc_jp", "gb18030", "big5hkscs", "cp949",
)  # fmt: skip
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
# Of the characters beyond ASCII, this share is in one language's alphabet, or the text is in none of these tables.
_MOST = 0.75
# Windows' Western table has all that is in these.
_WESTERN = ("ascii", "latin_1", "iso8859_1", "utf_8")


def guess(sample: bytes, *, whole: bool) -> str | None:
    """The likeliest encoding of a text, or ``None`` where none is likely; a sample that is not the ``whole`` of it may be cut
    within a character.

    charset-normalizer tells scripts apart. Among tables of Latin letters, where it goes by the frequency of ASCII's letters and
    is wrong about most short texts, the alphabets of languages decide; where none of them fits, it is asked for any table at all.
    """
    import charset_normalizer

    lines = sample.splitlines()
    # What is ASCII is the same in all of them.
    telling = [[line for line in some if not line.isascii()] for some in (lines if whole else lines[1:-1], lines)]
    evidence = b"\n".join(telling[0] or telling[1])
    found = [match.encoding for match in charset_normalizer.from_bytes(evidence, cp_isolation=list(_CANDIDATES))]
    if found and found[0] not in _LETTERS:
        return found[0]
    shares = {encoding: _share(evidence, encoding) for encoding in _LETTERS}
    latin = max(shares, key=lambda encoding: shares[encoding])
    if shares[latin] >= _MOST:
        return latin
    best = charset_normalizer.from_bytes(evidence).best()
    if best is not None:
        return "cp1252" if best.encoding in _WESTERN else best.encoding
    others = [encoding for encoding in found if encoding not in _LETTERS]
    return next(iter(others or found), None)


def _share(evidence: bytes, encoding: str) -> float:
    """Of the characters beyond ASCII, how many the one alphabet has that has the most of them."""
    characters = [one for one in evidence.decode(encoding, errors="replace").lower() if not one.isascii()]
    most = max((sum(one in letters or one in _SIGNS for one in characters) for letters in _LETTERS[encoding]), default=0)
    return most / max(len(characters), 1)
