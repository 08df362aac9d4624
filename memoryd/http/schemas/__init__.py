"""Bodies of requests and answers: the names of ``docs/api.md``, which clients rely on."""
