"""The inference server's application: models load while it answers ``/livez`` already, and ``/readyz`` when they are warm."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from memoryd.http.inference.answers import openai_error
from memoryd.http.inference.handling import Errors, Handling, Work
from memoryd.http.inference.metrics import MEDIA_TYPE, Metrics
from memoryd.http.inference.routes import Routes
from memoryd.http.middleware import Bounds, Envelope
from memoryd.http.problems import error_response, problem_response
from memoryd.served_models import Served
from retrieval.errors import InferenceUnavailable

log = logging.getLogger(__name__)

Opening = Callable[[], AbstractAsyncContextManager[Served]]
# Bodies are bounded where they are read, with an answer in the caller's format; what is not read costs nothing.
_UNREAD = 2**62


class Loading:
    """The models of the process: not there yet, there, or not to be had."""

    def __init__(self, opening: Opening, on_failure: Callable[[Exception], None]) -> None:
        self._opening = opening
        self._on_failure = on_failure
        self._served: Served | None = None
        self._stopping = asyncio.Event()

    @property
    def loaded(self) -> bool:
        """True when there is something to release in order."""
        return self._served is not None

    @property
    def ready(self) -> bool:
        """True when every model is warm and can compute."""
        return self._served is not None and self._served.healthy

    def models(self) -> Served:
        """Raises ``InferenceUnavailable`` while they load."""
        if self._served is None:
            raise InferenceUnavailable("the models are being loaded")
        return self._served

    async def run(self) -> None:
        """Load, keep, and release when :meth:`stop` was called. Cancelled while it loads, it gives up."""
        try:
            async with self._opening() as served:
                self._served = served
                log.info("inference serves %s", ", ".join([*served.embedders, *served.rerankers]))
                await self._stopping.wait()
        except Exception as error:  # noqa: BLE001 - it ends the process, where it is told
            self._on_failure(error)
        finally:
            self._served = None

    def stop(self) -> None:
        """Let :meth:`run` end."""
        self._stopping.set()


def create_inference_app(
    opening: Opening,
    *,
    tokens: Sequence[str] = (),
    max_body_bytes: int = 16 * 2**20,
    max_texts: int = 1_024,
    request_timeout_s: float = 120.0,
    on_failure: Callable[[Exception], None] = lambda error: None,
) -> Starlette:
    """The application. ``opening`` loads the models; ``on_failure`` is told when that fails."""
    loading = Loading(opening, on_failure)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(loading.run())
        try:
            yield
        finally:
            loading.stop()
            if not loading.loaded:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def livez(request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(request: Request) -> Response:
        if loading.ready:
            return JSONResponse({"status": "ready"})
        return problem_response(
            str(request.state.request_id),
            status=503,
            code="not_ready",
            title="Not ready",
            detail="a model does not compute" if loading.loaded else "the models are being loaded and warmed up",
            retry_after_s=1,
        )

    async def scraped(request: Request) -> Response:
        return PlainTextResponse(metrics.text(ready=loading.ready), media_type=MEDIA_TYPE)

    async def missing(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        code, title = ("method_not_allowed", "Method Not Allowed") if status == 405 else ("not_found", "Not Found")
        return problem_response(str(request.state.request_id), status=status, code=code, title=title, detail=title)

    handling = Handling(tokens=tokens, max_body_bytes=max_body_bytes, longest_s=request_timeout_s, metrics=metrics)
    routes = Routes(loading.models, metrics, max_texts=max_texts)

    def post(path: str, work: Work, errors: Errors = error_response) -> Route:
        return Route(path, handling.endpoint(path, work, errors), methods=["POST"])

    def get(path: str, work: Work) -> Route:
        return Route(path, handling.endpoint(path, work, error_response), methods=["GET"])

    app = Starlette(
        lifespan=lifespan,
        routes=[
            post("/embed", routes.embed),
            post("/rerank", routes.rerank),
            post("/v1/embeddings", routes.openai, openai_error),
            get("/models", routes.models),
            get("/models/{name:path}/tokenizer", routes.tokenizer),
            get("/v1/models", routes.openai_models),
            get("/info", routes.info),
            Route("/livez", livez, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Route("/health", readyz, methods=["GET"]),
            Route("/metrics", scraped, methods=["GET"]),
        ],
        exception_handlers={404: missing, 405: missing},
    )
    app.router.redirect_slashes = False
    app.add_middleware(Envelope, bounds=Bounds(_UNREAD, request_timeout_s, _UNREAD, request_timeout_s))
    return app
