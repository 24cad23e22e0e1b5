"""Tokens of pages: where the page before ended, and of which question.

A page begins after an entry, not at a number, so entries that come or go move no others.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kinemask_chassis import errors

from kinemask_faces.gallery.records import Page, PageQuery

Entry = TypeVar("Entry")
Row = TypeVar("Row")

DEFAULT_SIZE = 50
_DIGEST_CHARS = 11


@dataclass(frozen=True)
class Question:
    """What is listed: tokens of other questions are refused."""

    digest: str

    @classmethod
    def of(cls, *parts: object) -> Question:
        """`parts` name the list and all that narrows it."""
        digest = hashlib.sha256(repr(parts).encode()).digest()
        return cls(base64.urlsafe_b64encode(digest).decode()[:_DIGEST_CHARS])

    def after(self, query: PageQuery) -> str | None:
        """Where the page begins; None for the first.

        Raises:
            ServiceError: INVALID_ARGUMENT, reason BAD_PAGE_TOKEN.
        """
        if not query.token:
            return None
        digest, place = query.token[:_DIGEST_CHARS], query.token[_DIGEST_CHARS:]
        if digest != self.digest or not place:
            raise bad_token()
        return place

    def after_key(self, query: PageQuery) -> int | None:
        """The same where places are numbers."""
        place = self.after(query)
        if place is None:
            return None
        # Not isdigit: that takes digits of other scripts. Beyond 18 figures it is no bigint.
        if not place.isascii() or not place.isdigit() or len(place) > 18:
            raise bad_token()
        return int(place)

    def page(
        self,
        query: PageQuery,
        rows: Sequence[Row],
        entry: Callable[[Row], Entry],
        place: Callable[[Row], object],
    ) -> Page[Entry]:
        """The page of `limit(query)` rows, the last of which only tells that there are more."""
        shown = rows[: limit(query) - 1]
        token = f"{self.digest}{place(shown[-1])}" if len(rows) > len(shown) else ""
        return Page([entry(row) for row in shown], token)


def limit(query: PageQuery) -> int:
    """How many rows to ask for: one more than are shown."""
    return (query.size or DEFAULT_SIZE) + 1


def bad_token() -> errors.ServiceError:
    """INVALID_ARGUMENT, reason BAD_PAGE_TOKEN."""
    what = "expected the next_page_token of the same question, got another text"
    return errors.invalid("page_token", what, reason="BAD_PAGE_TOKEN")
