"""The embedded stack: a real PostgreSQL and a real Valkey from wheels, started and supervised in one data directory.

======================  =============================================================================
module                  noun
======================  =============================================================================
``datadir``             the data directory: its lock, layout and checks
``credentials``         the generated secrets in it
``account``             the unprivileged user that root's servers run as
``programs``            where the servers' binaries are
``postgres``, ``valkey``  the two servers: how each is prepared, started, probed and stopped
``spec``, ``child``     one supervised process: its specification, and its lives
``supervisor``          all of them: order, restarts, signals, ``run/state.json``
``gate``                the HTTP socket, answered with 503 while the API is down
``readiness``           the child's side: ``inherited_listener()``, ``signal_ready()``
``launch``              the trampoline that drops privileges and ties a child's life to its parent's
======================  =============================================================================

Only the standard library, and never a database driver: the stores own those.
"""
