"""Models that run elsewhere, behind the same ports: memoryd's inference server, text-embeddings-inference, and any
OpenAI-compatible ``/v1/embeddings``.

::

    RemoteEmbedder, RemoteReranker -> Endpoints (order of preference, hedging) -> Endpoint (one server: connections, breaker)
             \\-> formats (what is sent, what comes back, what the server says of its model)
"""
