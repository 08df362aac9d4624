"""Knowledge bases in PostgreSQL: one adapter a port of :mod:`memoryd.knowledge`, and what they share."""
