"""``memoryd inference``: models for the other roles, and for whoever speaks their formats."""

import logging

import click
import uvicorn

from memoryd.embedded.ports import listen
from memoryd.http.connections import bounded
from memoryd.http.inference.app import create_inference_app
from memoryd.logs import configure
from memoryd.served_models import open_served
from memoryd.settings import Settings

log = logging.getLogger("memoryd")

_GRACE_S = 3
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@click.option("--host", default=None, help="Address to listen on (MEMORYD_INFERENCE_HOST).")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port (MEMORYD_INFERENCE_PORT).")
@click.option(
    "--embedder", "embedders", multiple=True, help="A model that embeds; may be repeated (MEMORYD_INFERENCE_EMBEDDERS)."
)
@click.option(
    "--reranker", "rerankers", multiple=True, help="A model that reranks; may be repeated (MEMORYD_INFERENCE_RERANKERS)."
)
def inference(host: str | None, port: int | None, embedders: tuple[str, ...], rerankers: tuple[str, ...]) -> None:
    """Embed and rerank for others. Models come from the cache (memoryd models pull)."""
    given = {"inference_embedders": ",".join(embedders), "inference_rerankers": ",".join(rerankers)}
    settings = Settings().model_copy(update={name: value for name, value in given.items() if value})
    configure(settings.log_level)
    address = host or settings.inference_host
    tokens = [one.strip() for one in _secret(settings).split(",") if one.strip()]
    if address not in _LOOPBACK and not tokens:
        log.warning("listening on %s without MEMORYD_INFERENCE_TOKENS: whoever reaches it may use it", address)
    failures: list[Exception] = []

    def failed(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_inference_app(
        lambda: open_served(settings),
        tokens=tokens,
        max_body_bytes=settings.max_body_bytes,
        max_texts=settings.inference_max_texts,
        request_timeout_s=settings.request_timeout_s,
        on_failure=failed,
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # ours has the request id, and never a path's content
        server_header=False,
        http=bounded(settings.max_connections),
        ws="none",
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listen(address, settings.inference_port if port is None else port)])
    if failures:
        raise failures[0]


def _secret(settings: Settings) -> str:
    return settings.inference_tokens.get_secret_value() if settings.inference_tokens else ""
