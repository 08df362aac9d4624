"""REST: the only place that knows fastapi."""
