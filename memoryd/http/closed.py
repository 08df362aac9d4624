"""Models that refuse what they do not know, in few words however much of it was sent.

The validator lists every fault of an input before anybody can stop it: a body of a million unknown names made a million errors.
"""

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

# So many more names than there are fields are refused one by one, each under its own name; of more, a few are named.
_SPARE = 5
_NAMED = 3
_LONGEST_NAME = 40


class Closed(BaseModel):
    """Unknown fields are refused, so that a typo is not silently ignored."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, data: object) -> object:
        if isinstance(data, dict) and len(data) > len(cls.__pydantic_fields__) + _SPARE:
            unknown = [str(name)[:_LONGEST_NAME] for name in data if name not in cls.model_fields]
            raise PydanticCustomError(
                "extra_forbidden",
                "{count} unknown fields, such as {names}",
                {"count": len(unknown), "names": ", ".join(unknown[:_NAMED])},
            )
        return data


def at_most(most: int) -> Callable[[object], object]:
    """A validator to run before the items of an object are looked at: a ``max_length`` alone is checked after them."""

    def check(value: object) -> object:
        if isinstance(value, dict) and len(value) > most:
            raise PydanticCustomError(
                "too_long",
                "Dictionary should have at most {most} items after validation, not {count}",
                {"most": most, "count": len(value)},
            )
        return value

    return check
