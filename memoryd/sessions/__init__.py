"""The use cases of working memory: a session's messages, state, checkpoints, window, life and way into long-term memory."""
