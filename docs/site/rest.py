"""The reference of the REST API: a page for each tag of the application's own OpenAPI document, and one for its schemas."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from http import HTTPStatus

from schemas import Schema, cell, table, told, typed

from memoryd.http.openapi import document


@cache
def pages() -> dict[str, tuple[str, str]]:
    """Path → title and Markdown."""
    whole: Schema = dict(document())
    by_tag: dict[str, list[str]] = defaultdict(list)
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append("\n".join(_operation(f"{method.upper()} {path}", operation)))
    made = {f"rest/{tag}.md": (tag.capitalize(), _page(tag.capitalize(), parts)) for tag, parts in by_tag.items()}
    schemas = [_schema(name, one) for name, one in sorted(whole["components"]["schemas"].items()) if name != "JsonValue"]
    return made | {"rest/schemas.md": ("Schemas", _page("Schemas", schemas))}


def _page(title: str, parts: list[str]) -> str:
    return "\n".join([f"# {title}", "", "From the OpenAPI document, which a server has at `/openapi.json`.", "", *parts])


def _operation(name: str, operation: Schema) -> Iterator[str]:
    yield f"## `{name}`\n"
    yield f"**{operation['summary']}.** {operation.get('description', '')}\n"
    if parameters := operation.get("parameters"):
        yield from ("| parameter | in | type | |", "| --- | --- | --- | --- |")
        for one in parameters:
            needed = " (needed)" if one.get("required") else ""
            schema = {"description": one.get("description", "")} | one["schema"]
            yield f"| `{one['name']}`{needed} | {one['in']} | {cell(typed(schema))} | {told(schema)} |"
        yield ""
    for media, body in operation.get("requestBody", {}).get("content", {}).items():
        if "properties" in body["schema"]:
            yield f"Body, `{media}`:\n\n{table(body['schema'])}"
        else:
            yield f"Body, `{media}`: {typed(body['schema'])}\n"
    answers: dict[str, list[str]] = defaultdict(list)
    for status, answer in operation["responses"].items():
        bodies = [f"{typed(one.get('schema', {}))} (`{media}`)" for media, one in answer.get("content", {}).items()]
        answers[", ".join(bodies)].append(f"{status} {HTTPStatus(int(status)).phrase}")
    yield from ("| answer | body |", "| --- | --- |")
    yield from (f"| {', '.join(statuses)} | {cell(body)} |" for body, statuses in answers.items())
    yield ""


def _schema(name: str, schema: Schema) -> str:
    return f"## {name}\n\n{schema.get('description', '')}\n\n{table(schema)}"
