"""Documents made for the tests."""

import io
import zipfile
from collections.abc import Mapping
from itertools import pairwise

_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
KIND = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"

_LAUGHS = ["lol", *(f"lol{number}" for number in range(1, 10))]
BILLION_LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY lol "lol">'
    + "".join(f'<!ENTITY {name} "' + f"&{below};" * 10 + '">' for below, name in pairwise(_LAUGHS))
    + "]>"
)


def zipped(members: Mapping[str, str | bytes]) -> bytes:
    """An archive, its members in that order."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def office(main: str, kind: str, members: Mapping[str, str | bytes]) -> bytes:
    """An OOXML package with ``main`` as its document of that kind (as in its content type)."""
    return zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{_TYPES}"><Override PartName="/{main}" '
            f'ContentType="application/vnd.openxmlformats-officedocument.{kind}.main+xml"/></Types>',
            "_rels/.rels": relations({"rId1": ("officeDocument", main)}),
            **members,
        }
    )


def relations(targets: Mapping[str, tuple[str, str]]) -> str:
    """A part's relations: id to kind and target."""
    lines = (f'<Relationship Id="{key}" Type="{KIND}/{kind}" Target="{target}"/>' for key, (kind, target) in targets.items())
    return f'<Relationships xmlns="{_RELATIONS}">{"".join(lines)}</Relationships>'


def docx(body: str, *, prolog: str = "") -> bytes:
    """A Word document with that body."""
    xml = f'<?xml version="1.0"?>{prolog}<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'
    return office("word/document.xml", "wordprocessingml.document", {"word/document.xml": xml})


def paragraph(text: str) -> str:
    """Of a Word document."""
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def xlsx(rows: str) -> bytes:
    """A workbook of one sheet with these row elements."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    book = f'<workbook xmlns="{main}" xmlns:r="{KIND}"><sheets><sheet name="One" sheetId="1" r:id="rId1"/></sheets></workbook>'
    return office(
        "xl/workbook.xml",
        "spreadsheetml.sheet",
        {
            "xl/workbook.xml": book,
            "xl/_rels/workbook.xml.rels": relations({"rId1": ("worksheet", "worksheets/sheet1.xml")}),
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
        },
    )


def odt(body: str, *, prolog: str = "") -> bytes:
    """An OpenDocument text with that body."""
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "text", "table", "style")
    )
    content = f"{prolog}<office:document-content {spaces}><office:body><office:text>{body}</office:text></office:body>"
    return zipped({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": f"{content}</office:document-content>"})


def pdf(*pages: str, trailer: str = "", pictured: float = 0) -> bytes:
    """A PDF with a line of text a page; a page of no text is drawn on. A picture covers the ``pictured`` part of each."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{5 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    grey = "/Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 /Length 1"
    objects.append(f"<< {grey} >>\nstream\n0\nendstream".encode())
    for number, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else "100 100 200 200 re f"
        content = f"q 612 0 0 {792 * pictured} 0 0 cm /Im Do Q {content}" if pictured else content
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {6 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> /XObject << /Im 4 0 R >> >> >>".encode()
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream".encode())
    made = io.BytesIO()
    made.write(b"%PDF-1.4\n")
    places = []
    for number, one in enumerate(objects, 1):
        places.append(made.tell())
        made.write(b"%d 0 obj\n%s\nendobj\n" % (number, one))
    start = made.tell()
    made.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    made.writelines(b"%010d 00000 n \n" % place for place in places)
    made.write(f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode())
    return made.getvalue()


def protected_pdf() -> bytes:
    """A PDF whose user password is not empty (its check fails for every password)."""
    encryption = (
        f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{'41' * 32}> /U <{'42' * 32}> >> /ID [<{'00' * 16}> <{'00' * 16}>]"
    )
    return pdf("secret", trailer=encryption)
