"""The service under SIGKILL. ``MEMORYD_SOAK_KILLS`` says how often (``make soak``: 20), ``MEMORYD_SOAK_SEED`` in which order."""
