"""The service under SIGKILL. ``MEMORYD_SOAK_KILLS`` says how often (``make soak``: 20), ``MEMORYD_SOAK_SEED`` in which order, and
``MEMORYD_SOAK_LOSSES`` how often Redis loses everything (``make soak``: 6). And a document of ``MEMORYD_SOAK_TEXT_MB`` (500)."""
