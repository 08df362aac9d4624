"""The language of source code, by the file's name or its first line."""

from __future__ import annotations

from ingestion.parse.source import Source

_SUFFIXES = """
python .py .pyi .pyw; javascript .js .mjs .cjs .jsx; typescript .ts .tsx .mts .cts; java .java; kotlin .kt .kts; scala
.scala .sc; groovy .groovy .gradle; c .c .h; cpp .cc .cpp .cxx .hpp .hh .hxx; csharp .cs; fsharp .fs .fsx; go .go; rust
.rs; swift .swift; objectivec .m .mm; dart .dart; ruby .rb .rake .gemspec; php .php; perl .pl .pm; lua .lua; r .r; julia
.jl; haskell .hs; elixir .ex .exs; erlang .erl .hrl; clojure .clj .cljs .cljc; ocaml .ml .mli; zig .zig; nim .nim; bash
.sh .bash .zsh .ksh; fish .fish; powershell .ps1 .psm1; batch .bat .cmd; sql .sql; css .css; scss .scss; less .less; vue
.vue; svelte .svelte; yaml .yaml .yml; toml .toml; ini .ini .cfg .conf; properties .properties; xml .xml .xsd .xsl .xslt
.wsdl .rss .svg; hcl .tf .hcl; proto .proto; graphql .graphql .gql; dockerfile .dockerfile; makefile .mk; cmake .cmake;
diff .diff .patch; tex .tex .sty; vim .vim; asm .s .asm; cuda .cu .cuh; verilog .v .sv
"""
_BY_SUFFIX = {suffix: line.split()[0] for line in _SUFFIXES.split(";") for suffix in line.split()[1:]}
_BY_NAME = {
    "dockerfile": "dockerfile",
    "containerfile": "dockerfile",
    "makefile": "makefile",
    "gnumakefile": "makefile",
    "cmakelists.txt": "cmake",
    "gemfile": "ruby",
    "rakefile": "ruby",
    "jenkinsfile": "groovy",
    ".bashrc": "bash",
    ".gitignore": "gitignore",
}
_BY_PROGRAM = {"python": "python", "bash": "bash", "sh": "bash", "zsh": "bash", "node": "javascript", "deno": "typescript",
               "ruby": "ruby", "perl": "perl", "php": "php", "lua": "lua", "awk": "awk", "make": "makefile"}  # fmt: skip


def language_of(source: Source) -> str | None:
    """The language, or ``None`` when neither name nor first line tells it."""
    found = _BY_NAME.get(source.base_name) or _BY_SUFFIX.get(source.suffix)
    if found:
        return found
    first = source.head(200).split(b"\n", 1)[0]
    if first.startswith(b"#!"):
        words = first[2:].decode("ascii", errors="replace").split()
        program = next((word.rsplit("/", 1)[-1] for word in words if not word.startswith("-") and not word.endswith("/env")), "")
        return _BY_PROGRAM.get(program.rstrip("0123456789."))
    return "xml" if first.lstrip(b"\xef\xbb\xbf \t").startswith(b"<?xml") else None
