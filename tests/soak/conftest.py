"""The soak tests run on the same kind of folder as those of the embedded stack."""

from tests.embedded.conftest import place

__all__ = ["place"]
