"""The use cases of long-term memory: remember, revise, recall, and pack a context."""
