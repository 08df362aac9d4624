import pytest

from ingestion.sources.globs import Globs, check


@pytest.mark.parametrize(
    ("glob", "names", "others"),
    [
        ("payroll-[0-9].md", ["payroll-7.md", "hr/payroll-0.md"], ["payroll-x.md", "payroll-10.md", "payroll-[0-9].md"]),
        ("[!a-c]*.md", ["d.md", "x/z.md"], ["a.md", "c1.md"]),
        ("[^a]x", ["bx"], ["ax"]),
        ("[]]x", ["]x"], ["[]x"]),
        ("[!]]x", ["ax"], ["]x"]),
        ("[a-]x", ["-x", "ax"], ["bx"]),
        ("[&&~|.]x", ["&x", "~x", ".x"], ["ax"]),
        ("[{]x[}]", ["{x}"], ["x"]),
        ("a[+-9]b", ["a5b"], ["a/b"]),
        ("a[!x]b", ["a-b"], ["a/b", "axb"]),
        ("a}", ["a}"], []),
        ("*.md", ["a.md", "b/c.md"], ["a.txt"]),
        ("b/**", ["b/c/d"], ["b", "a/b/c"]),
    ],
)
def test_what_a_glob_matches(glob: str, names: list[str], others: list[str]) -> None:
    one = Globs(include=[glob])
    assert [name for name in [*names, *others] if one.includes(name)] == names


@pytest.mark.parametrize("glob", ["{a,b}.md", "a\\*", "a[", "[]", "[!]", "[z-a]", "[[:digit:]]", "a[/]b"])
def test_what_is_not_understood_is_refused_not_taken_literally(glob: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        check(glob)
    with pytest.raises(ValueError, match="not understood"):
        Globs(exclude=[glob])


def test_globs_that_matched_nothing() -> None:
    globs = Globs(include=["*.md", "*.rst"], exclude=["drafts", "*.bak"])
    assert [name for name in ("a.md", "drafts/b.md", "c.txt") if globs.wanted(name)] == ["a.md"]
    assert globs.idle == [("include", "*.rst"), ("exclude", "*.bak")]
