"""``memoryd inference`` as a process."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from retrieval.inference.registry import BGE_SMALL
from tests.support_models import ready_model_store


def started(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEMORYD_") or name == "MEMORYD_MODEL_CACHE"}
    return subprocess.Popen(
        [sys.executable, "-m", "memoryd", "inference", *arguments],
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=60)
    return output


def test_it_serves_until_it_is_told_to_stop_and_logs_no_content() -> None:
    ready_model_store()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = started("--port", str(port), MEMORYD_INFERENCE_TOKENS="one, two")
    try:
        url, headers = f"http://127.0.0.1:{port}", {"Authorization": "Bearer two"}
        with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
            for _ in range(600):
                try:
                    if http.get("/readyz").status_code == httpx.codes.OK:
                        break
                except httpx.TransportError:
                    assert process.poll() is None, said(process)
                time.sleep(0.1)
            answer = http.post("/embed", json={"texts": ["SECRET heron"], "kind": "query"})
            assert (answer.status_code, answer.headers["x-memoryd-model"]) == (200, BGE_SMALL.name)
    finally:
        process.send_signal(signal.SIGTERM)
        output = said(process)
    assert process.returncode in (0, -signal.SIGTERM)
    assert f"inference serves {BGE_SMALL.name}" in output
    assert "POST /embed 200" in output
    assert "SECRET" not in output
    assert "one, two" not in output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--embedder", "nobody/none"], "model_not_found"), (["--embedder", BGE_SMALL.name] * 2, "invalid_request")],
)
def test_what_it_cannot_serve_ends_it_with_one_line(arguments: list[str], code: str) -> None:
    process = started("--port", "0", *arguments)
    output = said(process)
    assert process.returncode == 1
    assert f"[{code}]" in output.splitlines()[-1]
    assert "Traceback" not in output
