import asyncio
import gzip
import hashlib
import ssl
import subprocess
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from ingestion.sources import Fetched, Fetcher, FetchPolicy, Reason, SourceRefused
from tests.ingestion.sources.server import Script, Served, answering, redirecting, serving

LOOPBACK = (IPv4Network("127.0.0.0/8"),)
PUBLIC = "93.184.215.14"


class Names:
    """A resolver that answers from lists, one list a look-up."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer:
            raise OSError("no such host")
        return answer


def policy_for(served: Served, **changes: object) -> FetchPolicy:
    return replace(FetchPolicy(ports=frozenset({served.port}), allowed=LOOPBACK, total_s=20.0), **changes)  # type: ignore[arg-type]


async def fetch(script: Script, into: Path, *, path: str = "/0", names: Names | None = None, **changes: object) -> Fetched:
    async with serving(script) as served:
        fetcher = Fetcher(policy_for(served, **changes), resolve=names or Names(["127.0.0.1"]))
        return await fetcher.fetch(f"http://docs.example:{served.port}{path}", into)


async def refused(script: Script, into: Path, **options: object) -> SourceRefused:
    with pytest.raises(SourceRefused) as caught:
        await fetch(script, into, **options)  # type: ignore[arg-type]
    return caught.value


async def test_a_document_is_written_hashed_and_described(tmp_path: Path) -> None:
    body = b"<p>hello</p>" * 100_000
    headers = 'content-type: Text/HTML; charset="UTF-8"\r\ncontent-disposition: attachment; filename="../../guide.html"\r\n'
    async with serving(answering(body[:1000], body[1000:], headers=headers)) as served:
        names = Names(["127.0.0.1"])
        fetched = await Fetcher(policy_for(served), resolve=names).fetch(
            f"http://docs.example:{served.port}/a#top", tmp_path / "f"
        )
    assert (tmp_path / "f").read_bytes() == body
    assert fetched == Fetched(
        f"http://docs.example:{served.port}/a", "text/html", "utf-8", "guide.html", len(body), hashlib.sha256(body).hexdigest()
    )
    assert names.asked == [("docs.example", served.port)]
    assert f"host: docs.example:{served.port}\r\n" in served.heads[0].lower()


async def test_without_a_disposition_the_path_names_the_file(tmp_path: Path) -> None:
    fetched = await fetch(answering(b"x"), tmp_path / "f", path="/a/The%20guide.pdf?x=/y")
    assert (fetched.file_name, fetched.media_type) == ("The guide.pdf", None)
    assert (await fetch(answering(b"x"), tmp_path / "f", path="/")).file_name is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://docs.example/a", Reason.NOT_HTTP),
        ("file:///etc/passwd", Reason.NOT_HTTP),
        ("gopher://docs.example", Reason.NOT_HTTP),
        ("docs.example/a", Reason.NOT_HTTP),
        ("http://user:word@docs.example/", Reason.CREDENTIALS_IN_URL),
        ("http://docs.example:22/", Reason.BLOCKED_PORT),
        ("http://docs.example:0/", Reason.BAD_URL),
        ("http:///a", Reason.BAD_URL),
        ("http://good.example\\@127.0.0.1/", Reason.BAD_URL),
        ("http://docs.example/a b", Reason.BAD_URL),
        ("http://docs.example/\r\nx: y", Reason.BAD_URL),
        ("http://docs.example/" + "a" * 5000, Reason.BAD_URL),
        ("http://2130706433/", Reason.BAD_URL),
        ("http://0x7f000001/", Reason.BAD_URL),
        ("http://0x7f.0.0.1/", Reason.BAD_URL),
        ("http://127.1/", Reason.BAD_URL),
        ("http://017700000001/", Reason.BAD_URL),
        ("http://0177.0.0.1/", Reason.BAD_URL),
        ("http://127.0.0.1./", Reason.BAD_URL),
        ("http://[::1/", Reason.BAD_URL),
    ],
)
async def test_urls_that_are_refused_before_anything_is_looked_up(tmp_path: Path, url: str, reason: Reason) -> None:
    names = Names([PUBLIC])
    with pytest.raises(SourceRefused) as caught:
        await Fetcher(FetchPolicy(), resolve=names).fetch(url, tmp_path / "f")
    assert caught.value.reason is reason
    assert not names.asked
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://localhost/", "https://localhost/"),
        *(
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://0.0.0.0/",
        ),
    ],
)
async def test_addresses_of_our_own_are_refused_by_the_real_resolver(tmp_path: Path, url: str) -> None:
    with pytest.raises(SourceRefused) as caught:
        await Fetcher(FetchPolicy()).fetch(url, tmp_path / "f")
    assert caught.value.reason is Reason.BLOCKED_ADDRESS


@pytest.mark.parametrize("answer", [["10.0.0.1"], [PUBLIC, "127.0.0.1"], ["::ffff:10.0.0.1"], ["fe80::1%eth0"]])
async def test_one_bad_address_in_an_answer_is_enough(tmp_path: Path, answer: list[str]) -> None:
    with pytest.raises(SourceRefused) as caught:
        await Fetcher(FetchPolicy(), resolve=Names(answer)).fetch("http://docs.example/", tmp_path / "f")
    assert caught.value.reason is Reason.BLOCKED_ADDRESS
    assert "10.0" not in str(caught.value)


async def test_a_name_is_looked_up_once_and_the_connection_goes_to_that_answer(tmp_path: Path) -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    assert (await fetch(answering(b"x"), tmp_path / "f", names=names)).size == 1
    assert len(names.asked) == 1


async def test_the_next_address_is_tried_when_one_takes_no_connection(tmp_path: Path) -> None:
    assert (await fetch(answering(b"x"), tmp_path / "f", names=Names(["127.99.99.99", "127.0.0.1"]))).size == 1


async def test_a_redirect_is_checked_like_the_first_url(tmp_path: Path) -> None:
    for target, reason in {
        "http://169.254.169.254/": Reason.BLOCKED_PORT,
        "file:///etc/passwd": Reason.NOT_HTTP,
        "//user@docs.example/": Reason.CREDENTIALS_IN_URL,
        "http://0x7f.1/": Reason.BAD_URL,
        "http://[": Reason.BAD_URL,
        "": Reason.BAD_URL,
    }.items():
        assert (await refused(redirecting(target), tmp_path / "f")).reason is reason, target
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    assert (await refused(redirecting("/1"), tmp_path / "f", names=names)).reason is Reason.BLOCKED_ADDRESS


async def test_redirects_are_followed_up_to_a_number(tmp_path: Path) -> None:
    fetched = await fetch(redirecting("/1", "2", "/3"), tmp_path / "f", redirects=3)
    assert fetched.url.endswith("/3")
    assert (tmp_path / "f").read_bytes() == b"arrived"
    error = await refused(redirecting("/1", "/2", "/3"), tmp_path / "f", redirects=2)
    assert error.reason is Reason.TOO_MANY_REDIRECTS


@pytest.mark.parametrize(("status", "retryable"), [("404 Not Found", False), ("503 Busy", True), ("206 Partial", False)])
async def test_other_answers_are_no_documents(tmp_path: Path, status: str, retryable: bool) -> None:
    error = await refused(answering(b"secret", status=status), tmp_path / "f")
    assert (error.reason, error.retryable) == (Reason.BAD_STATUS, retryable)
    assert "secret" not in str(error)


async def test_sizes_are_counted_and_not_believed(tmp_path: Path) -> None:
    stated = answering(b"x", headers="content-length: 2001\r\n")
    assert (await refused(stated, tmp_path / "f", max_bytes=2000)).reason is Reason.TOO_LARGE
    silent = answering(*[b"x" * 1000] * 3)
    assert (await refused(silent, tmp_path / "f", max_bytes=2000)).reason is Reason.TOO_LARGE
    assert (await fetch(answering(b"x" * 2000), tmp_path / "f", max_bytes=2000)).size == 2000


@pytest.mark.parametrize("packed", [gzip.compress(b"hello " * 9999), zlib.compress(b"hello " * 9999)], ids=["gzip", "zlib"])
async def test_packed_answers_are_unpacked(tmp_path: Path, packed: bytes) -> None:
    headers = "content-encoding: gzip\r\n"
    await fetch(answering(packed[:10], packed[10:], headers=headers), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"hello " * 9999
    assert (await refused(answering(packed[:-9], headers=headers), tmp_path / "f")).reason is Reason.BAD_ENCODING
    assert (await refused(answering(b"hello", headers=headers), tmp_path / "f")).reason is Reason.BAD_ENCODING
    assert (await refused(answering(packed, headers="content-encoding: br\r\n"), tmp_path / "f")).reason is Reason.BAD_ENCODING


@pytest.mark.parametrize("rest", [b"", b"\0" * 512, b"\x1f", b"behind the end"])
@pytest.mark.parametrize("cut", [1, 20, 50])
async def test_gzip_may_have_several_members(tmp_path: Path, cut: int, rest: bytes) -> None:
    headers = "content-encoding: gzip\r\n"
    members = gzip.compress(b"one, ") + gzip.compress(b"") + gzip.compress(b"two" * 9999)
    for place in (cut, len(gzip.compress(b"one, ")) + 1):
        await fetch(answering(members[:place], members[place:] + rest, headers=headers), tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == b"one, " + b"two" * 9999
    broken = answering(members[:-9], headers=headers)
    assert (await refused(broken, tmp_path / "f")).reason is Reason.BAD_ENCODING
    bombs = answering(gzip.compress(b"\0" * 400_000) * 3, headers=headers)
    assert (await refused(bombs, tmp_path / "f", max_bytes=1_000_000)).reason is Reason.TOO_LARGE


async def test_a_small_answer_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    error = await refused(answering(bomb, headers="content-encoding: gzip\r\n"), tmp_path / "f", max_bytes=1_000_000)
    assert error.reason is Reason.TOO_LARGE
    assert (tmp_path / "f").stat().st_size <= 1_000_000


async def test_time_is_bounded_in_all_also_for_a_server_that_drips(tmp_path: Path) -> None:
    async def drip(_: str) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            yield b"x"
            await asyncio.sleep(0.02)

    error = await refused(drip, tmp_path / "f", total_s=0.3)
    assert (error.reason, error.retryable) == (Reason.TIMED_OUT, True)


async def test_names_that_are_unknown_and_servers_that_are_gone(tmp_path: Path) -> None:
    assert (await refused(answering(b""), tmp_path / "f", names=Names([]))).reason is Reason.DNS_FAILED
    assert (await refused(answering(b""), tmp_path / "f", names=Names(["127.99.99.99"]))).reason is Reason.CONNECTION_FAILED
    cut = answering(b"half", headers="content-length: 100\r\n")
    assert (await refused(cut, tmp_path / "f")).reason is Reason.CONNECTION_FAILED


async def test_proxies_of_the_environment_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await fetch(answering(b"x"), tmp_path / "f")).size == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key for docs.example."""
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=docs.example", "-addext", "subjectAltName=DNS:docs.example"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            *subject,
            *files,
        ],
        check=True,
        capture_output=True,
    )
    return folder


async def test_tls_asks_for_the_name_and_checks_it(tmp_path: Path, certificate: Path) -> None:
    asked: list[str | None] = []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate / "certificate", certificate / "key")
    server.sni_callback = lambda _, name, __: asked.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate / "certificate"))
    async with serving(answering(b"secure"), tls=server) as served:
        fetcher = Fetcher(policy_for(served), resolve=Names(["127.0.0.1"]), tls=trusting)
        assert (await fetcher.fetch(f"https://docs.example:{served.port}/", tmp_path / "f")).size == 6
        assert asked == ["docs.example"]
        for wrong in (
            fetcher.fetch(f"https://other.example:{served.port}/", tmp_path / "g"),
            Fetcher(policy_for(served), resolve=Names(["127.0.0.1"])).fetch(
                f"https://docs.example:{served.port}/", tmp_path / "g"
            ),
        ):
            with pytest.raises(SourceRefused) as caught:
                await wrong
            assert caught.value.reason is Reason.CONNECTION_FAILED
    assert not (tmp_path / "g").exists()
