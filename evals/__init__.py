"""The benchmark harness: measures retrieval quality and speed of a running memoryd over its REST API.

``python -m evals quality|context|latency|writes|filtered|all`` writes ``evals/reports/<name>.json`` and
``.md``.
"""
