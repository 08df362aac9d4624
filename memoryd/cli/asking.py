"""The options of a question, which recall and context share, and those of its filters, which lists of memories have too."""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import TypeVar, get_args

import click

from memoryd.cli.values import Moment, Pair, words
from memoryd.client import Filters, KbSource, Question, Reranking, SpaceSource
from memoryd.client.memory_models import Kind
from memoryd.client.questions import Arm, Rerank, Scalar

T = TypeVar("T")


def filtering(command: Callable[..., T]) -> Callable[..., T]:
    """Gives a command the options that say which memories are meant; it gets them as ``filters``."""

    @click.option("--user", "user_id", default=None, help="Only what is about this user.")
    @click.option("--agent", "agent_id", default=None, help="Only what this agent wrote.")
    @click.option("--from-session", default=None, help="Only what was said in this session.")
    @click.option("--kind", "kinds", multiple=True, type=click.Choice(get_args(Kind)), help="Only these; may be repeated.")
    @click.option("--topic", "topics", multiple=True, help="Only with one of these; may be repeated.")
    @click.option("--metadata", multiple=True, type=Pair(), help="Only with this value; may be repeated.")
    @click.option("--after", type=Moment(), default=None, help="Only what happened then or later.")
    @click.option("--before", type=Moment(), default=None, help="Only what happened earlier.")
    @wraps(command)
    def filtered(
        user_id: str | None,
        agent_id: str | None,
        from_session: str | None,
        kinds: tuple[Kind, ...],
        topics: tuple[str, ...],
        metadata: tuple[tuple[str, Scalar], ...],
        after: datetime | None,
        before: datetime | None,
        **others: object,
    ) -> T:
        filters = Filters(
            user_id=user_id,
            agent_id=agent_id,
            session_id=from_session,
            kinds=kinds,
            topics_any=topics,
            metadata=dict(metadata),
            event_after=after,
            event_before=before,
        )
        return command(filters=filters, **others)

    return filtered


def asking(command: Callable[..., T]) -> Callable[..., T]:
    """Gives a command the words and options of a question; it gets a :class:`Question` as ``question``."""

    @click.argument("query", nargs=-1, required=True)
    @click.option("--space", "spaces", multiple=True, help="Look here; may be repeated. Default: all that the key may use.")
    @click.option("--kb", "kbs", multiple=True, metavar="NAME[@V]", help="Look in this knowledge base; may be repeated.")
    @click.option("-k", "--k", "limit", type=click.IntRange(1, 100), default=10, show_default=True, help="At most so many hits.")
    @click.option("--as-of", type=Moment(), default=None, help="What was true then.")
    @click.option("--known-at", type=Moment(), default=None, help="What the service knew then.")
    @click.option("--query-time", type=Moment(), default=None, help="The «now» of phrases such as «last week».")
    @click.option(
        "--rerank", type=click.Choice(get_args(Rerank)), default="auto", show_default=True, help="Whether a model reads the best."
    )
    @click.option("--rerank-depth", type=click.IntRange(1, 200), default=None, help="Rerank, and so many at most.")
    @click.option("--rerank-ms", type=click.IntRange(1, 60_000), default=None, help="Rerank, for about so many milliseconds.")
    @click.option("--arm", "arms", multiple=True, type=click.Choice(get_args(Arm)), help="Search only so; may be repeated.")
    @click.option("--deadline", "deadline_ms", type=click.IntRange(1, 60_000), default=None, help="Milliseconds for all of it.")
    @click.option("--explain", is_flag=True, help="Why each hit is where it is.")
    @filtering
    @wraps(command)
    def asked(
        filters: Filters,
        query: tuple[str, ...],
        spaces: tuple[str, ...],
        kbs: tuple[str, ...],
        limit: int,
        as_of: datetime | None,
        known_at: datetime | None,
        query_time: datetime | None,
        rerank: Rerank,
        rerank_depth: int | None,
        rerank_ms: int | None,
        arms: tuple[Arm, ...],
        deadline_ms: int | None,
        explain: bool,
        **others: object,
    ) -> T:
        question = Question(
            words(query),
            spaces=spaces if spaces and not kbs else None,
            sources=[*map(KbSource, kbs), *map(SpaceSource, spaces)] if kbs else None,
            filters=filters,
            limit=limit,
            rerank=_reranking(rerank, rerank_depth, rerank_ms),
            explain=explain,
            query_time=query_time,
            as_of=as_of,
            known_at=known_at,
            deadline_ms=deadline_ms,
            arms=arms or None,
        )
        return command(question=question, **others)

    return asked


def _reranking(given: Rerank, depth: int | None, budget_ms: int | None) -> Rerank | Reranking:
    if depth is None and budget_ms is None:
        return given
    if given == "off":
        raise click.UsageError("--rerank off and --rerank-depth or --rerank-ms exclude each other")
    return Reranking(depth, budget_ms)
