"""Working memory in Redis: one adapter a port of :mod:`memoryd.sessions`, and the scripts that make each step atomic."""
