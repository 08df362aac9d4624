"""An ONNX graph over token rows, one row a run, several runs at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from retrieval.errors import InferenceUnavailable
from retrieval.inference.rank import others_asked, step_aside
from retrieval.inference.tokenizer import Encoding, Row

Output = NDArray[np.float32]

# What the library says of an allocation that failed; it has no class for it.
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")
_KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "position_ids"})


class OnnxSession:
    """Runs a transformer's graph row by row on ``threads`` threads.

    Rows are not padded into one tensor, for two measured reasons. A dynamically quantised graph takes the scale of its
    activations from the whole tensor, so a padded batch changes a text's vector with its neighbours (cosine down to
    .990 against the text alone, with bge-small int8): the same text would get another vector every time, and a tenant's
    vectors would depend on another's texts. And it costs nothing: on two cores, rows in parallel give 1.0 to 1.4 times
    the texts per second of padded batches of 16, because nothing is spent on padding and a row stays in the cache.

    Spinning of idle threads is off: where other processes want the same cores, it halves throughput (measured), and
    memoryd usually shares its machine with a database.
    """

    def __init__(self, weights: Path, *, threads: int = 0, apart: bool = False) -> None:
        """``threads`` 0 means every core this process may use. ``apart``: a row is computed by one thread alone, and those of
        the pool step aside for other work of the machine, half of them altogether while :func:`others_asked
        <retrieval.inference.rank.others_asked>`; the caller does so itself.

        Raises:
            InferenceUnavailable: the graph cannot be loaded, or asks for inputs that text does not give.
        """
        self.threads = threads or usable_cores()
        self._apart = apart
        options = ort.SessionOptions()
        # A lone row is spread over the cores too; results do not depend on the number of threads.
        options.intra_op_num_threads = 1 if apart else self.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base but Exception
            raise InferenceUnavailable(f"{weights} cannot be loaded: {error}") from error
        self._inputs = [given.name for given in self._session.get_inputs()]
        if unknown := set(self._inputs) - _KNOWN_INPUTS:
            raise InferenceUnavailable(f"{weights} wants inputs that a text model does not have: {sorted(unknown)}.")
        self._output = self._session.get_outputs()[0].name
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="onnx", initializer=step_aside if apart else None)

    def run(self, rows: Sequence[Encoding]) -> list[Output]:
        """The graph's first output for each row, without the batch axis; longest rows start first.

        Raises:
            MemoryError: the rows need more than there is.
        """
        try:
            return self._all(rows)
        except Exception as error:  # the only base of what the library raises
            if any(sign in str(error) for sign in _NO_MEMORY):
                raise MemoryError(str(error)) from error
            raise

    def close(self) -> None:
        """Stop the threads; a running row finishes."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _all(self, rows: Sequence[Encoding]) -> list[Output]:
        if len(rows) == 1:
            return [self._one(rows[0])]
        waiting = deque(sorted(range(len(rows)), key=lambda index: -len(rows[index])))
        outputs: dict[int, Output] = {}

        def work(number: int) -> None:
            """One row after the other, on one thread."""
            while waiting and not (self._apart and number >= half and others_asked()):
                try:
                    index = waiting.popleft()
                except IndexError:  # another had the last
                    return
                outputs[index] = self._one(rows[index])

        half = max(1, self.threads // 2)
        working = [self._pool.submit(work, number) for number in range(min(self.threads, len(rows)))]
        try:
            for one in wait(working, return_when=FIRST_EXCEPTION).done:
                one.result()
        finally:
            # Where one failed, nothing of this run is to go on behind it.
            waiting.clear()
            wait(working)
        return [outputs[index] for index in range(len(rows))]

    def _one(self, row: Encoding) -> Output:
        ids = row.ids[np.newaxis]
        feeds: dict[str, Row] = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": row.segments[np.newaxis],
            "position_ids": np.arange(len(row), dtype=np.int64)[np.newaxis],
        }
        outputs = self._session.run([self._output], {name: feeds[name] for name in self._inputs})
        output: Output = np.asarray(outputs[0], dtype=np.float32)[0]
        return output


def usable_cores() -> int:
    """Cores this process may run on; a container's CPU quota is not seen here, so set the threads there."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
