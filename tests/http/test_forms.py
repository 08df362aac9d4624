"""Hostile forms: what a schema of multipart bodies cannot say."""

import errno
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from memoryd.http.middleware import Bounds
from tests.http.conftest import Tenant

PATH = "/v1/knowledge-bases/handbook/documents"
BOUNDARY = "limit"


@pytest.fixture
async def http(tenant: Tenant) -> httpx.AsyncClient:
    assert (await tenant.http.post("/v1/knowledge-bases", json={"name": "handbook"})).status_code == 201
    return tenant.http


def part(disposition: str, content: bytes = b"x") -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"


def file(name: str = "a.txt") -> bytes:
    return part(f'name="file"; filename="{name}"')


async def sent(
    http: httpx.AsyncClient,
    *parts: bytes,
    kind: str = f"multipart/form-data; boundary={BOUNDARY}",
    end: str = f"--{BOUNDARY}--\r\n",
) -> httpx.Response:
    return await http.post(PATH, content=b"".join(parts) + end.encode(), headers={"Content-Type": kind})


def is_problem(answer: httpx.Response, status: int) -> bool:
    return (answer.status_code, answer.json()["status"]) == (status, status)


async def test_a_whole_form_begins_a_job(http: httpx.AsyncClient) -> None:
    assert (await sent(http, file(), part('name="note"', "früh".encode()))).status_code == 202


@pytest.mark.parametrize("charset", ["undefined", "punycode", "idna", "utf-7", "unicode_escape"])
async def test_texts_of_forms_are_utf_8(http: httpx.AsyncClient, charset: str) -> None:
    """Python would decode them with whatever codec the caller names: one of them raises, another takes hours for a megabyte."""
    kind = f"multipart/form-data; charset={charset}; boundary={BOUNDARY}"
    assert is_problem(await sent(http, file(), part('name="note"'), kind=kind), 415)
    assert (await sent(http, file(), kind=kind.replace(charset, '"UTF-8"'))).status_code == 202


@pytest.mark.parametrize(
    "options",
    [
        '{"\\ud800": {}}',
        '{"a.txt": {"\\ud800": 1}}',
        '{"a.txt": {"title": "\\ud800"}}',
        '{"a.txt": {"metadata": {"a": "\\u0000"}}}',
        '{"a.txt": {"document_id": "a\\u0000"}}',
        '{"a.txt": {"metadata": {"a": NaN}}}',
        '{"a.txt": {"title": "one"}, "a.txt": {"title": "two"}}',
        '{"a.txt": {"title": 1e999}}',
        "[" * 5_000,
        '{"a.txt": null}',
        '{"a.txt": {"metadata": {"a": "' + "x" * 200_000 + '"}}}',
    ],
)
async def test_options_are_checked_like_any_body(http: httpx.AsyncClient, options: str) -> None:
    assert is_problem(await sent(http, file(), part('name="options"', options.encode())), 422)
    assert (await http.get("/v1/jobs")).json()["jobs"] == []


@pytest.mark.parametrize("name", ["", "a\tb", "a\x00b", "a\x7f", "x" * 501])
async def test_a_file_name_that_is_no_document_id_is_refused(http: httpx.AsyncClient, name: str) -> None:
    assert (await sent(http, file(name))).status_code in {400, 422}
    assert (await http.get("/v1/jobs")).json()["jobs"] == []


async def test_a_file_name_may_be_as_long_as_a_document_id(http: httpx.AsyncClient) -> None:
    assert (await sent(http, file("folder/" * 70 + "a.md"))).status_code == 202


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([part('filename="a.txt"')], 400),
        ([part('name="file"')], 422),
        ([file(), part('name="note"; filename="b.txt"')], 422),
        ([file(), part('name="publish"', b"yes")], 422),
        ([file(), part('name="note"'), part('name="note"')], 422),
        ([file(), part('name="note"', b"x" * 1_001)], 422),
        ([file(), part('name="note"', b"x" * (2 * 2**20 + 1))], 413),
        ([file(), part('name="other"')], 422),
        ([file(), file()], 422),
        ([part('name="file"; filename="a.txt"\r\n' + "X: " + "y" * 100_000)], 400),
        ([file(f"{n}.txt") for n in range(101)], 413),
        ([file(), *[part(f'name="n{n}"') for n in range(11)]], 413),
        ([], 422),
    ],
)
async def test_a_form_of_other_parts_is_refused(http: httpx.AsyncClient, parts: list[bytes], status: int) -> None:
    assert is_problem(await sent(http, *parts), status)
    assert (await http.get("/v1/jobs")).json()["jobs"] == []


@pytest.mark.parametrize(
    ("parts", "kind", "code", "detail"),
    [
        ([file(f"{n}.txt") for n in range(101)], None, "payload_too_large", "Maximum number of files is 100"),
        ([file(), file()], None, "invalid_request", "Value error, a document_id is named twice: a.txt"),
        ([file()], "text/plain", "unsupported_media_type", "multipart/form-data"),
    ],
)
async def test_a_refusal_says_what_to_do(
    http: httpx.AsyncClient, parts: list[bytes], kind: str | None, code: str, detail: str
) -> None:
    answer = (await sent(http, *parts, **({} if kind is None else {"kind": kind}))).json()
    assert answer["code"] == code
    assert detail in answer["detail"]
    assert not answer["detail"].startswith(":")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=" + "b" * 1_000, 400),
        ("multipart/form-data; boundary=other", 400),
        ("multipart/mixed; boundary=limit", 415),
        ("multipart/form-dataX; boundary=limit", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
async def test_a_body_of_another_kind_is_refused(http: httpx.AsyncClient, kind: str, status: int) -> None:
    assert is_problem(await sent(http, file(), kind=kind), status)


@pytest.mark.parametrize("end", ["", f"--{BOUNDARY}", f"--{BOUNDARY}\r\nContent-Disp"])
async def test_a_form_that_breaks_off_begins_nothing(http: httpx.AsyncClient, end: str) -> None:
    """Not even of the files that came whole: the caller is told that there is a document fewer by nothing else."""
    assert is_problem(await sent(http, file(), file("b.txt"), end=end), 400)
    assert is_problem(await sent(http, file(), file("b.txt")[:-10], end=end), 400)
    assert (await http.get("/v1/jobs")).json()["jobs"] == []


async def test_a_full_disk_is_not_the_callers_fault(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: BinaryIO, path: Path) -> tuple[str, int]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("memoryd.knowledge.uploads._copied", full)
    answer = await sent(http, file())
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")


def test_originals_have_the_time_of_uploads() -> None:
    """They are as large."""
    bounds = Bounds(max_body_bytes=1, timeout_s=2.0, max_upload_bytes=3, upload_timeout_s=4.0)
    base = "/v1/knowledge-bases/handbook"
    assert bounds.seconds({"method": "GET", "path": f"{base}/originals/guide/a.pdf"}) == 4.0
    assert bounds.seconds({"method": "POST", "path": f"{base}/documents"}) == 4.0
    assert bounds.seconds({"method": "GET", "path": f"{base}/documents/originals/a"}) == 2.0
    assert bounds.body({"method": "GET", "path": f"{base}/originals/a.pdf"}) == 1
