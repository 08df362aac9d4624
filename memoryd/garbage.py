"""Garbage collection in processes that last."""

import gc

# Objects between looks for garbage among the newest. Of fewer, most still belong to requests that are under way.
_YOUNG = 10_000


def spare_what_is_there() -> None:
    """What is there now stays: a look for garbage among all of it would stop everything for 0.2 s, about once a second."""
    gc.collect()
    gc.freeze()
    gc.collect()  # of nothing: it would look among all again only when that had grown by a quarter of what was frozen
    gc.set_threshold(_YOUNG)
