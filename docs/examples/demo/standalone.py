"""``make demo``: start the embedded stack in a temporary folder, run the demo against it, stop everything."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
STOP_TIMEOUT_S = 60


def main() -> int:
    """The demo's exit status; 3 when the stack did not start."""
    # Ended by a signal, it still stops what it started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="memoryd-demo-"))
    folder.chmod(0o755)  # as root, PostgreSQL runs as another user, who must be able to enter
    command = [sys.executable, "-m", "memoryd", "up", "--data-dir", str(folder / "data"), "--port", "0", "--print-json"]
    print("Starting PostgreSQL, Valkey, the API and the worker …", flush=True)
    started = time.perf_counter()
    stack = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = stack.stdout.readline() if stack.stdout else ""
        if not line:
            print("memoryd up did not start", file=sys.stderr)
            return 3
        ready = json.loads(line)
        print(f"Ready at {ready['url']} in {time.perf_counter() - started:.1f} s.\n", flush=True)
        demo = [sys.executable, str(HERE / "run.py"), "--url", ready["url"], "--key", ready["api_key"]]
        status = subprocess.run(demo, check=False).returncode
    finally:
        stopping = time.perf_counter()
        stack.send_signal(signal.SIGINT)
        try:
            stack.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            stack.kill()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"Stopped everything in {time.perf_counter() - stopping:.1f} s.")
    return status


if __name__ == "__main__":
    sys.exit(main())
