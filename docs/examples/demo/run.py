"""The demo: seven months of a couple and their assistant are remembered, recalled and packed into 600 tokens.

    python docs/examples/demo/run.py --url http://127.0.0.1:8420 --key mk_…

It talks to a running memoryd over its public API only. ``conversation.jsonl`` is written session by session. For each
question, ``questions.json`` lists the rows (from 1) that answer it or a part of it, and those that once did.
Exit status: 0 when every question has an answer among its first ten hits and no context passed its budget, 1 when
not, 2 when the service failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path

import bpe_openai
import httpx
from demo_api import BUDGET_TOKENS, Context, Hit, Question, Service, Turn
from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.progress import track
from rich.table import Table
from rich.text import Text

HERE = Path(__file__).parent
SHOWN_HITS = 5
RECALLED = 10
FOUND, EARLIER = "[bold green]✓[/]", "[yellow]↩[/]"


@dataclass(frozen=True, slots=True)
class Marks:
    """Which memory is which row, to mark a question's evidence."""

    row_of: dict[str, int]

    def mark(self, question: Question, memory_id: str) -> str:
        """A tick for evidence, an arrow for what was true before, else nothing."""
        row = self.row_of.get(memory_id)
        if row in question["evidence"]:
            return FOUND
        return EARLIER if row in question["earlier"] else ""

    def found(self, question: Question, memory_ids: list[str]) -> int:
        """How many of the question's evidence rows are among ``memory_ids``."""
        rows = {self.row_of.get(memory_id) for memory_id in memory_ids}
        return len(rows & set(question["evidence"]))


def naive_fill(hits: list[Hit], budget: int) -> tuple[list[Hit], int]:
    """The usual way: whole texts, best first, until the next does not fit. Returns them and their tokens."""
    encoding = bpe_openai.get_encoding("o200k_base")
    taken: list[Hit] = []
    used = 0
    for hit in hits:
        total = len(encoding.encode_ordinary("\n".join([*(other["text"] for other in taken), hit["text"]])))
        if total > budget:
            break
        taken.append(hit)
        used = total
    return taken, used


def write_conversation(service: Service, turns: list[Turn]) -> Marks:
    """Writes every session in one call each; returns which id is which row."""
    sessions = [(name, list(group)) for name, group in groupby(turns, key=lambda turn: turn["session_id"])]
    ids: list[str] = []
    for session_id, group in track(sessions, description="Remembering", transient=True):
        ids += service.remember(session_id, group)
    return Marks({memory_id: row for row, memory_id in enumerate(ids, start=1)})


def when(value: str | None) -> str:
    """A compact local time, as the caller gave it."""
    return datetime.fromisoformat(value).strftime("%d %b %H:%M") if value else "–"


def arms_of(hit: Hit) -> str:
    """A line an arm, such as ``dense #2 0.71``, and what else moved the hit."""
    explain = hit.get("explain") or {}
    lines: list[str] = []
    for name, arm in explain.get("arms", {}).items():
        rank, score = arm.get("rank"), arm.get("score")
        place = "" if rank is None else f" #{rank}"
        # A temporal arm's own score is a time: the rank says enough.
        lines.append(f"{name}{place}" + ("" if score is None or name == "temporal" else f" {score:.2f}"))
    if boost := explain.get("temporal"):
        lines.append(f"in the time asked for +{boost:.2f}")
    if (relevance := explain.get("rerank")) is not None:
        lines.append(f"rerank {relevance:.2f}")
    if explain.get("via_neighbour"):
        lines.append("follows a match")
    return "\n".join(lines)


def hits_table(question: Question, hits: list[Hit], marks: Marks) -> Table:
    """The best hits with their explanations."""
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1))
    table.add_column("#", justify="right")
    table.add_column("")
    table.add_column("score", justify="right")
    table.add_column("found by", no_wrap=True)
    table.add_column("said", no_wrap=True)
    table.add_column("memory", ratio=1)
    for rank, hit in enumerate(hits[:SHOWN_HITS], start=1):
        said = f"{when(hit.get('event_time'))}\n{hit.get('speaker') or '–'}"
        mark = marks.mark(question, hit["id"])
        table.add_row(str(rank), mark, f"{hit['score']:.3f}", arms_of(hit), said, Text(hit["text"]))
    return table


def side_by_side(console: Console, question: Question, context: Context, naive: tuple[list[Hit], int], marks: Marks) -> None:
    """The packed context beside the naive fill of the same hits (below it, on a narrow terminal)."""
    taken, used = naive
    lines = Text()
    for hit in taken:
        lines.append_text(Text.from_markup(f"{marks.mark(question, hit['id']) or '·'} "))
        lines.append(f"{hit['text']}\n")
    renditions = Text()
    for item in context["items"]:
        members = [item["id"], *item.get("merged", [])]
        mark = next((found for member in members if (found := marks.mark(question, member))), "·")
        renditions.append_text(Text.from_markup(f"{mark} {item['rendition']} {item['tokens']}   "))
    packed = Text.assemble(context["text"], "\n\n", ("Manifest: ", "bold"), renditions)
    left = Panel(packed, title=f"memoryd context: {context['used_tokens']} of {BUDGET_TOKENS} tokens")
    right = Panel(lines, title=f"naive top-k fill: {used} of {BUDGET_TOKENS} tokens, {len(taken)} hits")
    if console.width >= 110:
        grid = Table.grid(expand=True)
        grid.add_column(ratio=1)
        grid.add_column(ratio=1)
        grid.add_row(left, right)
        console.print(grid)
    else:
        console.print(left, right)


def shown_ids(context: Context) -> list[str]:
    """Ids whose words are in the context: a pointer shows none."""
    shown = [item for item in context["items"] if item["rendition"] != "pointer"]
    return [member for item in shown for member in (item["id"], *item.get("merged", []))]


def demonstrate(console: Console, service: Service, questions: list[Question], marks: Marks) -> bool:
    """Asks every question; whether each was answered among the first :data:`RECALLED` hits, and budgets were kept."""
    summary = Table("question", "evidence", f"in top {SHOWN_HITS}", "memoryd", "naive", "ms", box=box.SIMPLE_HEAD)
    good = True
    for number, question in enumerate(questions, start=1):
        hits, timings = service.recall(question)
        context = service.context(question)
        naive = naive_fill(hits, BUDGET_TOKENS)
        console.rule(f"[bold]{number}. {question['question']}[/]  ({question['shows']})")
        console.print(f"asked by {question['asked_by']} on {when(question['query_time'])}", style="dim")
        console.print(hits_table(question, hits, marks))
        if number in (1, 3):
            side_by_side(console, question, context, naive, marks)
        ids = [hit["id"] for hit in hits]
        counts = [ids[:SHOWN_HITS], shown_ids(context), [hit["id"] for hit in naive[0]]]
        found = [str(marks.found(question, some)) for some in counts]
        summary.add_row(question["question"], str(len(question["evidence"])), *found, f"{timings['total']:.0f}")
        good &= marks.found(question, ids[:RECALLED]) > 0
        good &= context["used_tokens"] <= BUDGET_TOKENS
    console.rule(f"[bold]Evidence found, and in {BUDGET_TOKENS} tokens[/]")
    console.print(summary)
    return good


def main() -> int:
    """Runs the demo; see the module's docstring for the exit status."""
    parser = argparse.ArgumentParser(description="Write a conversation to memoryd, recall it, pack it.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--space", default="demo")
    options = parser.parse_args()
    rows = (HERE / "conversation.jsonl").read_text(encoding="utf-8").splitlines()
    turns: list[Turn] = [json.loads(row) for row in rows]
    questions: list[Question] = json.loads((HERE / "questions.json").read_text(encoding="utf-8"))
    console = Console()
    headers = {"Authorization": f"Bearer {options.key}"}
    try:
        with httpx.Client(base_url=options.url, headers=headers, timeout=30.0) as http:
            service = Service(http, options.space)
            service.create_space()
            started = time.perf_counter()
            marks = write_conversation(service, turns)
            seconds = time.perf_counter() - started
            sessions = len({turn["session_id"] for turn in turns})
            console.print(f"Remembered {len(turns)} turns of {sessions} sessions in {seconds:.1f} s.")
            console.print(f"{FOUND} answers the question   {EARLIER} was true before, and still has its time")
            good = demonstrate(console, service, questions, marks)
    except httpx.HTTPStatusError as error:
        console.print(f"[red]{error.response.status_code}[/] {error.request.url.path}: {error.response.text}")
        return 2
    except httpx.HTTPError as error:
        console.print(f"[red]memoryd does not answer at {options.url}:[/] {error}")
        return 2
    console.print(
        f"[green]Every question has an answer in its top {RECALLED}.[/]" if good else "[red]Not every answer was found.[/]"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
