import pytest

from ingestion.parse.labels import superset


@pytest.mark.parametrize(
    ("label", "content", "text"),
    [
        ("ISO-8859-1", b"\x80 5 \x96 \x93so\x94", "€ 5 – “so”"),
        ("latin1", b"caf\xe9", "café"),
        ("us-ascii", b"\x80", "€"),
        ("iso-8859-9", b"\xfe\x80", "ş€"),
        ("tis-620", b"\xa1\x80", "ก€"),
        ("gb2312", "朱镕基 喆".encode("gb18030"), "朱镕基 喆"),
        (" GBK ", "𠀀".encode("gb18030"), "𠀀"),
        ("x-sjis", "①髙".encode("cp932"), "①髙"),
        ("Shift_JIS", "①髙".encode("cp932"), "①髙"),
        ("ks_c_5601-1987", "똠방각하".encode("cp949"), "똠방각하"),
        ("koi8-r", "да".encode("koi8-r"), "да"),
        ("utf-8", "да".encode(), "да"),
    ],
)
def test_a_label_is_read_as_the_encoding_that_senders_mean(label: str, content: bytes, text: str) -> None:
    assert content.decode(superset(label)) == text


@pytest.mark.parametrize("label", ["", "x-none", "é", "a\0b"])
def test_an_unknown_label_stays_as_it_is(label: str) -> None:
    assert superset(label) == label
