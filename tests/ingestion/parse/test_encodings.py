"""Bytes of a text, and the encoding that is found for them."""

from pathlib import Path

import pytest

from tests.ingestion.parse.reading import read_text

_WARNED = ("a few bytes are not UTF-8 and are shown as U+FFFD",)
_GERMAN = "Größe und Maß: für die Übung – 100 €"


@pytest.mark.parametrize("before", [0, 1, 20, 2_000, 30_000], ids=str)
@pytest.mark.parametrize("wrong", [b"alte Zeile: Stra\xdfe", b"\xff", b"\x96 dash"])
async def test_a_wrong_byte_leaves_utf8_what_it_is_wherever_it_stands(tmp_path: Path, before: int, wrong: bytes) -> None:
    line = _GERMAN.encode() + b"\n\n"
    document = await read_text(tmp_path, line * before + wrong + b"\n\n" + line * 20, "a.txt")
    texts = [block.text for block in document.blocks]
    assert texts[before] == wrong.decode(errors="replace")
    assert {*texts[:before], *texts[before + 1 :]} == {_GERMAN}
    assert document.parsed.warnings == _WARNED


async def test_few_wrong_bytes_of_no_encoding_are_no_reason_to_refuse_a_text(tmp_path: Path) -> None:
    document = await read_text(tmp_path, b"an entry of a log\n" * 50 + b"\x81\xff\x8d\n" + b"an entry of a log\n" * 50, "a.log")
    assert document.text.startswith("an entry of a log\n")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Café crème"),
        ("cp1252", "Nous vous prions de trouver ci-joint le procès-verbal. Où êtes-vous ? Ça dépend de l’œuvre : 30 €."),
        ("cp1252", "Año;Descripción;Población\n2020;Información básica;España\n2021;Educación;Córdoba"),
        ("cp1252", "Kundennummer;Name;Straße;Ort\n" + "\n".join(f"{n};Müller & Söhne;Königstraße {n};Köln" for n in range(60))),
        ("cp1252", "Log entry\n" * 100 + "Datei geöffnet: Straße\n" + "Log entry\n" * 100),
        ("cp1252", "Anställda har rätt till semester varje år. Räksmörgås är gott."),
        ("cp1252", "A situação não é fácil: as informações estão disponíveis."),
        ("cp1252", "La società è stata costituita nel 1998. Perché la qualità è così importante? Può darsi."),
        ("cp1250", "Imię;Nazwisko;Miejscowość\nŁukasz;Wójcik;Kraków\nMałgorzata;Dąbrowska;Łódź"),
        ("iso8859_2", "Zażółć gęślą jaźń. Łódź jest dużym miastem."),
        ("cp1250", "Zaměstnanec má nárok na dvacet pět dní dovolené. Žádost podejte řediteli."),
        ("cp1250", "A munkavállalót huszonöt nap szabadság illeti meg. Árvíztűrő tükörfúrógép."),
        ("cp1254", "İstanbul güzel bir şehirdir, değil mi?"),
        ("cp1257", "Darbuotojams suteikiamos dvidešimt darbo dienų atostogos. Žmogus šaukė."),
        ("cp1251", "Отпуск составляет двадцать восемь дней в году."),
        ("koi8_r", "Отпуск составляет двадцать восемь дней в году. Заявление подаётся за две недели."),
        ("cp1253", "Η άδεια είναι είκοσι πέντε ημέρες τον χρόνο. Η αίτηση υποβάλλεται πριν."),
        ("gb18030", "员工每年有二十天带薪休假。"),
        # Signs in what is otherwise ASCII, or French, would be Japanese katakana or letters of Central Europe.
        ("cp1252", "© 2024 Acme Corp. All rights reserved."),
        ("cp1252", "Copyright notice\n" * 30 + "© 2024 Acme Corp. All rights reserved."),
        ("cp1252", "You don’t need it. Acme® Air – the “best” of 2024…"),
        ("cp1252", "§ 5: 20 °C ± 1, x² and £100"),
        ("cp1252", "Page 1 · Page 2"),
        ("cp1252", "La société © 2023"),
        ("cp932", "これ"),
        ("cp932", "有給休暇は年に二十日です。"),
        ("cp932", "int value = 1;  // 前の値"),
        ("cp932", "品名 ｶﾀｶﾅ ﾃｽﾄ 10 ｺ"),
    ],
)  # fmt: skip
async def test_short_texts_of_an_older_encoding_are_guessed(tmp_path: Path, encoding: str, text: str) -> None:
    document = await read_text(tmp_path, text.encode(encoding), "a.md")
    assert "\n".join(block.text for block in document.blocks) == text.strip()
    assert document.parsed.warnings == (f"the encoding was guessed: {encoding}",)


_FRENCH = "Le café coûte cher à l'été; où êtes-vous allés pendant l'hiver? Le garçon a reçu une lettre de sa mère."
_UMLAUTS = "Übergrößenträger müssen früh aufstehen, während die Äpfel reifen. Der Weg führt über Hügel und grüne Täler."


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("cp850", _UMLAUTS),
        ("cp437", _UMLAUTS),
        ("mac_roman", _UMLAUTS),
        ("mac_roman", _FRENCH),
        ("cp850", _FRENCH),
        ("cp852", "Příliš žluťoučký kůň úpěl ďábelské ódy"),
        ("iso8859_6", "مرحبا بالعالم كيف حالك اليوم"),
    ],
)
async def test_longer_texts_of_other_tables_are_guessed(tmp_path: Path, encoding: str, line: str) -> None:
    document = await read_text(tmp_path, "\n\n".join([line] * 40).encode(encoding), "a.md")
    assert [block.text for block in document.blocks] == [line] * 40


@pytest.mark.parametrize(
    ("declared", "encoding", "text"),
    [
        ("iso-8859-1", "cp1252", "“Grüße” kosten 5 €"),
        ("KOI8-R", "koi8-r", "Да"),
        ('"windows-1255"', "cp1255", "חופשה שנתית היא עשרים ושמונה ימים."),
        ("gb2312", "gb18030", "镕基同志，堃。"),
        ("iso-2022-jp", "iso2022_jp", "有給休暇は年に二十日です。"),
        ("utf-16le", "utf-16-le", "有給休暇は年に 20 日です。"),
        ("utf-16", "utf-8", "words alone!"),
        ("utf-16", "cp1252", "Größe und Maß"),
        # Who says wrong what UTF-8 is, or says nothing that is an encoding, is not believed.
        ("iso-8859-1", "utf-8", _GERMAN),
        ("utf-8", "cp1252", "Café crème"),
        ("zip", "cp1252", "Café crème"),
        ("punycode", "cp1252", "Café crème"),
    ],
)
async def test_what_the_sender_says_of_the_encoding(tmp_path: Path, declared: str, encoding: str, text: str) -> None:
    document = await read_text(tmp_path, text.encode(encoding), "", media_type=f"text/plain; charset={declared}")
    assert document.text == text


@pytest.mark.parametrize("declared", ["iso-8859-1", "us-ascii"])
async def test_a_text_that_nearly_fits_what_was_said_without_looking_is_guessed(tmp_path: Path, declared: str) -> None:
    code = "\n".join(f"int value_{number} = compute({number});" for number in range(80))
    comment = "/* ファイルを開いてから読み込む。見つからないときはエラーとする。 */"
    text = f"{code}\n\n{comment}\n\n{code}"
    document = await read_text(tmp_path, text.encode("cp932"), "", media_type=f"text/plain; charset={declared}")
    assert comment in document.text


@pytest.mark.parametrize("declared", ["windows-1252", "iso-8859-1"])
@pytest.mark.parametrize("times", [1, 30])
@pytest.mark.parametrize("end", ["", "idea"])
async def test_a_wrong_byte_does_not_overrule_what_was_said(tmp_path: Path, declared: str, times: int, end: str) -> None:
    """Other tables of Latin letters have that byte, and most of these letters."""
    text = "The résumé costs €5 – a “naïve” idea, or “blasé”: déjà vu.\n\n" * times + end
    document = await read_text(tmp_path, text.encode("cp1252") + b"\x9d", "", media_type=f"text/plain; charset={declared}")
    assert document.text == text + "\ufffd"
    assert document.parsed.warnings == ("a few bytes are not CP1252 and are shown as U+FFFD",)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp932", "これは、とてもよいことです。"),
        ("cp932", "\n".join(f"むかしむかし、あるところに{number}人がいました。" for number in range(50))),
        ("cp866", "Загруз Словац Постав Указан"),
        ("cp1250", "Príkaz, pre ktorý sa má vypísať podrobný pomocník"),
    ],
)
async def test_letters_that_only_look_like_those_of_what_was_said_are_guessed(tmp_path: Path, encoding: str, text: str) -> None:
    document = await read_text(tmp_path, text.encode(encoding), "", media_type="text/plain; charset=iso-8859-1")
    assert document.text == text


async def test_a_table_is_the_one_that_was_said_however_it_is_written(tmp_path: Path) -> None:
    """The guess, which sees no more than the beginning, finds the same."""
    line = "مرحبا بالعالم كيف حالك اليوم\n"
    content = line.encode("iso8859_6") * 2_500 + b"\xff \xff \xff\n" * 1_000
    document = await read_text(tmp_path, content, "", media_type="text/plain; charset=iso-8859-6")
    assert document.text.startswith(line * 100)
    assert document.parsed.warnings == ("a few bytes are not ISO8859-6 and are shown as U+FFFD",)
