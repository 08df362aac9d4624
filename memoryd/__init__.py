"""memoryd: managed memory and context engineering for AI agents.

The outermost ring: it authenticates, holds the use cases, and builds the adapters (:mod:`memoryd.wiring`).
"""

__version__ = "0.1.0"
