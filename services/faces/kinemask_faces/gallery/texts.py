"""What Postgres cannot store as text."""

from __future__ import annotations

from kinemask_chassis import errors


def storable(field: str, text: str) -> str:
    """The text as it is.

    Raises:
        ServiceError: INVALID_ARGUMENT: it has a character 0, which no text of Postgres may have.
    """
    if "\0" in text:
        raise errors.invalid(field, "expected text without the character 0, found one")
    return text
