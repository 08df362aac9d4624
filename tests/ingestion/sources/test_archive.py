import gzip
import io
import lzma
import random
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.sources import ArchiveLimits, Found, Reason, Skipped, SkipReason, SourceRefused, walk_archive
from ingestion.sources.archive import safe_name

Files = dict[str, bytes]
LIMITS = ArchiveLimits(entries=50, entry_bytes=200_000, total_bytes=600_000, ratio=100)


def zipped(path: Path, files: Files) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def tarred(mode: str) -> Callable[[Path, Files], None]:
    def write(path: Path, files: Files) -> None:
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))

    return write


FORMATS = {"zip": zipped, **{mode: tarred(mode) for mode in ("w:", "w:gz", "w:bz2", "w:xz")}}
formats = pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)


def walked(path: Path, limits: ArchiveLimits = LIMITS) -> tuple[Files, dict[str, SkipReason]]:
    folder = path.parent / "unpacked"
    folder.mkdir(exist_ok=True)
    found: Files = {}
    skipped: dict[str, SkipReason] = {}
    for one in walk_archive(path, limits, folder):
        if isinstance(one, Found):
            found[one.name] = one.path.read_bytes()
            assert one.size == len(found[one.name])
            assert len(list(folder.iterdir())) == 1
        else:
            skipped[one.name] = one.reason
    assert not list(folder.iterdir())
    return found, skipped


def reason_of(path: Path, limits: ArchiveLimits = LIMITS) -> Reason:
    with pytest.raises(SourceRefused) as caught:
        walked(path, limits)
    assert not list((path.parent / "unpacked").iterdir())
    return caught.value.reason


@formats
def test_files_come_one_after_the_other(tmp_path: Path, write: Callable[[Path, Files], None]) -> None:
    files = {"a.md": b"# A", "b/c.txt": b"c" * 200_000, "b/empty": b"", "./d\u3000e.txt": b"d", "b/" + "long" * 40 + ".txt": b"e"}
    write(tmp_path / "a", files)
    assert walked(tmp_path / "a") == ({name.removeprefix("./"): data for name, data in files.items()}, {})


@formats
def test_names_that_lead_elsewhere_are_passed_over(tmp_path: Path, write: Callable[[Path, Files], None]) -> None:
    unsafe = ["/etc/passwd", "../up.txt", "a/../../up.txt", "C:\\x.txt", "..\\up.txt", "a\nb.txt", "x" * 501]
    write(tmp_path / "a", {**dict.fromkeys(unsafe, b"x"), ".git/config": b"x", "__MACOSX/._a.md": b"x", "good.md": b"good"})
    found, skipped = walked(tmp_path / "a")
    assert found == {"good.md": b"good"}
    assert len(skipped) == len(unsafe)
    assert set(skipped.values()) == {SkipReason.UNSAFE_NAME}


@given(st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "a", "", "\\", "C:"]), max_size=6).map("/".join))
def test_a_safe_name_stays_below_its_folder(name: str) -> None:
    safe = safe_name(name)
    if safe is not None:
        parts = safe.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert "\\" not in safe
        assert safe_name(safe) == safe


@formats
def test_archives_in_archives_are_reported_and_office_documents_are_not(
    tmp_path: Path, write: Callable[[Path, Files], None]
) -> None:
    zipped(tmp_path / "inner", {"a": b"a"})
    inner = (tmp_path / "inner").read_bytes()
    tarred("w:")(tmp_path / "tar", {"a": b"a"})
    nested = {"a.zip": inner, "b": gzip.compress(b"x"), "c.txt": (tmp_path / "tar").read_bytes()}
    write(tmp_path / "a", {**nested, "report.docx": inner})
    found, skipped = walked(tmp_path / "a")
    assert list(found) == ["report.docx"]
    assert skipped == dict.fromkeys(nested, SkipReason.NESTED_ARCHIVE)


@formats
def test_entries_and_bytes_are_counted(tmp_path: Path, write: Callable[[Path, Files], None]) -> None:
    write(tmp_path / "many", {f"{n}": b"x" for n in range(51)})
    assert reason_of(tmp_path / "many") is Reason.TOO_MANY_ENTRIES
    noise = random.Random(7).randbytes(200_001)
    write(tmp_path / "one", {"large": noise, "small": b"small"})
    assert walked(tmp_path / "one") == ({"small": b"small"}, {"large": SkipReason.TOO_LARGE})
    write(tmp_path / "all", {f"{n}": noise[:-1] for n in range(4)})
    assert reason_of(tmp_path / "all") is Reason.TOO_LARGE


@pytest.mark.parametrize("write", [FORMATS[name] for name in ("zip", "w:gz", "w:bz2", "w:xz")], ids=["zip", "gz", "bz2", "xz"])
def test_bombs_are_refused(tmp_path: Path, write: Callable[[Path, Files], None]) -> None:
    write(tmp_path / "bomb", {"a": b"\0" * 12_000_000})
    limits = ArchiveLimits(ratio=100)
    assert reason_of(tmp_path / "bomb", limits) is Reason.BOMB


def test_entries_that_share_their_bytes_are_counted_each(tmp_path: Path) -> None:
    zipped(tmp_path / "a", {"a": b"\0" * 150_000})
    data = (tmp_path / "a").read_bytes()
    end = data.rindex(b"PK\x05\x06")
    start = int.from_bytes(data[end + 16 : end + 20], "little")
    entry, count = data[start:end], 20
    record = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, count * len(entry), start, 0)
    copies = b"".join(entry[:-1] + bytes([65 + n]) for n in range(count))
    (tmp_path / "b").write_bytes(data[:start] + copies + record)
    found, skipped = walked(tmp_path / "b", LIMITS)  # names differ from those in front of the bytes
    assert not found
    assert set(skipped.values()) == {SkipReason.CORRUPT}
    (tmp_path / "c").write_bytes(data[:start] + entry * count + record)
    found, skipped = walked(tmp_path / "c", LIMITS)
    assert (len(found), skipped) == (1, {"a": SkipReason.DUPLICATE_NAME})


def test_a_directory_larger_than_its_entries_may_need_is_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        for n in range(1200):
            archive.writestr(f"{n}", b"")
    assert reason_of(tmp_path / "a", ArchiveLimits(entries=50)) is Reason.TOO_MANY_ENTRIES


def test_links_devices_and_pipes_are_no_files(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(f"entry{number}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert walked(tmp_path / "a.tar") == ({}, {f"entry{n}": SkipReason.NOT_A_FILE for n in range(5)})
    info_zip = zipfile.ZipInfo("link")
    info_zip.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zip_archive:
        zip_archive.writestr(info_zip, "/etc/passwd")
    assert walked(tmp_path / "a.zip") == ({}, {"link": SkipReason.NOT_A_FILE})


def test_encrypted_entries_are_reported(tmp_path: Path) -> None:
    zipped(tmp_path / "a", {"a.md": b"a", "b.md": b"b"})
    data = bytearray((tmp_path / "a").read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    data[6] |= 1
    (tmp_path / "a").write_bytes(data)
    assert walked(tmp_path / "a") == ({"b.md": b"b"}, {"a.md": SkipReason.ENCRYPTED})


def test_methods_that_unpack_without_bound_are_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.md", b"\0" * 100_000)
    assert walked(tmp_path / "a") == ({}, {"a.md": SkipReason.UNSUPPORTED})


def test_a_broken_entry_leaves_the_others(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("a.md", b"hello")
        archive.writestr("b.md", b"world")
    data = (tmp_path / "a").read_bytes().replace(b"hello", b"jello", 1)
    (tmp_path / "a").write_bytes(data)
    assert walked(tmp_path / "a") == ({"b.md": b"world"}, {"a.md": SkipReason.CORRUPT})


def test_an_entry_of_a_broken_off_tar_is_corrupt_and_so_is_the_rest(tmp_path: Path) -> None:
    tarred("w:gz")(tmp_path / "a", {"a": b"good", "b": random.Random(7).randbytes(100_000), "c": b"c"})
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-2000])
    found: list[str] = []
    folder = tmp_path / "unpacked"
    folder.mkdir()

    def walk() -> Iterator[Found | Skipped]:
        for one in walk_archive(tmp_path / "a", LIMITS, folder):
            found.append(one.name)
            yield one

    with pytest.raises(SourceRefused) as caught:
        list(walk())
    assert caught.value.reason is Reason.CORRUPT
    assert found[0] == "a"
    assert "c" not in found


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"x" * 5000, gzip.compress(b"hello", mtime=0), lzma.compress(b"x" * 5000), b"BZh9"]
)
def test_what_is_no_archive_is_called_so(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    assert reason_of(tmp_path / "a") in (Reason.NOT_AN_ARCHIVE, Reason.CORRUPT)


@pytest.mark.parametrize("data", [b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 10, b"PK\x03\x04" + b"\xff" * 500])
def test_a_zip_without_its_end_is_corrupt(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    assert reason_of(tmp_path / "a") is Reason.CORRUPT


def test_headers_of_a_tar_cannot_take_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 50_000_000
    with gzip.open(tmp_path / "a", "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT) + b"a" * 50_000_000)
    assert reason_of(tmp_path / "a", ArchiveLimits()) is Reason.BOMB


def test_sparse_files_are_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type = tarfile.GNUTYPE_SPARSE
    with tarfile.open(tmp_path / "a", "w:", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(info)
    assert walked(tmp_path / "a")[0] == {}


def test_folders_count_as_entries(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w:gz") as archive:
        for number in range(51):
            info = tarfile.TarInfo(f"folder{number}")
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
    assert reason_of(tmp_path / "a") is Reason.TOO_MANY_ENTRIES


@pytest.mark.parametrize("kind", [tarfile.XGLTYPE, tarfile.XHDTYPE], ids=["global", "own"])
def test_chains_of_headers_cannot_take_memory(tmp_path: Path, kind: bytes) -> None:
    with gzip.open(tmp_path / "a", "wb") as file:
        for number in range(5_000):
            record = f"600 key{number}=".encode().ljust(599, b"x") + b"\n"
            info = tarfile.TarInfo("x")
            info.type, info.size = kind, len(record)
            file.write(info.tobuf(tarfile.GNU_FORMAT) + record.ljust(1024, b"\0"))
        file.write(tarfile.TarInfo("a.md").tobuf())
    assert reason_of(tmp_path / "a", ArchiveLimits()) is Reason.BOMB
