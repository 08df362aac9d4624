"""Adapters to PostgreSQL and Redis: the only place that imports their drivers."""
