"""``pip install memoryd`` brings httpx and pydantic: the client works with these alone."""

import os
import subprocess
import sys
from pathlib import Path

import memoryd

ROOT = Path(memoryd.__file__).parents[1]
SERVER = (
    "fastapi",
    "starlette",
    "uvicorn",
    "psycopg",
    "redis",
    "arq",
    "obstore",
    "numpy",
    "tokenizers",
    "onnxruntime",
    "Stemmer",
)
REST = ("click", "rich", "mcp", "pydantic_settings", "bpe_openai", "tests")

SCRIPT = """
import sys
from importlib.abc import MetaPathFinder

class Closed(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError("the client must not import " + name)

sys.meta_path.insert(0, Closed())

from pathlib import Path
import httpx
from memoryd.client import Memoryd, Unavailable, Retries

asked = []

def answer(request):
    asked.append(request.url.path)
    if request.url.path.endswith("/compare"):
        return httpx.Response(200, json={{"unchanged": ["a.md"], "changed": [], "new": []}})
    return httpx.Response(503, json={{"status": 503, "code": "store_unavailable", "detail": "later"}})

with Memoryd("http://memoryd.test", "key", retries=Retries(attempts=1), transport=httpx.MockTransport(answer)) as client:
    print(client.knowledge.ingest_folder("handbook", Path(sys.argv[1])).unchanged)
    try:
        list(client.jobs.list())
    except Unavailable as error:
        print(error.code)
"""


def test_the_client_needs_nothing_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("a")
    script = SCRIPT.format(blocked=(*SERVER, *REST))
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["1", "store_unavailable"]
