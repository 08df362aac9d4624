"""The inference server's HTTP: memoryd's own format, text-embeddings-inference's, and OpenAI's."""
