import hashlib
import os
from pathlib import Path

import pytest

from ingestion.sources import Found, Globs, Skipped, SkipReason, content_hash, walk_folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.md", "a/z.md", "a/deep/er/x.txt", "a.txt", "a/deep.md", ".hidden/x.md", "a/.secret", "node_modules/m/i.md"):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "docs"


def names(tree: Path, **globs: list[str]) -> list[str]:
    return [one.name for one in walk_folder(tree, Globs(**globs))]


def test_files_come_by_path_without_hidden_ones(tree: Path) -> None:
    assert (
        names(tree) == ["a.txt", "a/deep.md", "a/deep/er/x.txt", "a/z.md", "b.md", "node_modules/m/i.md"] == sorted(names(tree))
    )
    found = next(iter(walk_folder(tree)))
    assert found == Found("a.txt", tree / "a.txt", 5)


def test_links_are_not_followed(tree: Path) -> None:
    (tree / "link.md").symlink_to(tree / "b.md")
    (tree / "loop").symlink_to(tree, target_is_directory=True)
    assert "link.md" not in names(tree)
    assert len(names(tree)) == 6


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        ({"include": ["*.md"]}, ["a/deep.md", "a/z.md", "b.md", "node_modules/m/i.md"]),
        ({"include": ["*.md"], "exclude": ["node_modules"]}, ["a/deep.md", "a/z.md", "b.md"]),
        ({"exclude": ["node_modules/", "a/deep"]}, ["a.txt", "a/deep.md", "a/z.md", "b.md"]),
        ({"include": ["a/*"]}, ["a/deep.md", "a/z.md"]),
        ({"include": ["a/**"]}, ["a/deep.md", "a/deep/er/x.txt", "a/z.md"]),
        ({"include": ["**/x.txt", "/b.md"]}, ["a/deep/er/x.txt", "b.md"]),
        ({"include": ["?.md"]}, ["a/z.md", "b.md", "node_modules/m/i.md"]),
        ({"exclude": ["/a"]}, ["a.txt", "b.md", "node_modules/m/i.md"]),
        ({"include": ["[ab].*"]}, ["a.txt", "b.md"]),
        ({"exclude": ["[!a]*"]}, ["a.txt"]),
        ({"include": ["a.tx"]}, []),
        ({"include": ["a+txt"]}, []),
    ],
)
def test_globs(tree: Path, globs: dict[str, list[str]], expected: list[str]) -> None:
    assert names(tree, **globs) == expected


def test_what_is_no_file_and_what_has_no_name_is_reported(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9.md")).write_text("x")
    assert [one for one in walk_folder(tree) if isinstance(one, Skipped)] == [
        Skipped("caf?.md", SkipReason.UNSAFE_NAME),
        Skipped("pipe", SkipReason.NOT_A_FILE),
    ]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(walk_folder(tmp_path / "none"))


def test_content_hashes(tmp_path: Path) -> None:
    data = b"x" * 3_000_000
    (tmp_path / "a").write_bytes(data)
    assert content_hash(tmp_path / "a") == hashlib.sha256(data).hexdigest()
