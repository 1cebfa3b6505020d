"""Tables of people's votes: outputs that were shown, votes on pairs of them, stars for one of them."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Choice(StrEnum):
    """What a voter says of a pair."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"
    BAD = "bad"
    """Neither is any good."""


class Base(DeclarativeBase):
    """All tables of a store."""


class Output(Base):
    """Something that a model made; the id says nothing of the model, so that it may stand in a page."""

    __tablename__ = "outputs"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    arrow: Mapped[str] = mapped_column(String(64))
    prompt: Mapped[str] = mapped_column(Text)
    """The caption, or the name of the file, that it was made from."""
    model: Mapped[str] = mapped_column(String(255))
    weights: Mapped[str] = mapped_column(String(64), default="")
    seed: Mapped[int | None]
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    mime: Mapped[str] = mapped_column(String(64), default="text/plain")
    content: Mapped[str] = mapped_column(Text)
    """A sentence itself; of anything else the file's name within the arena's folder."""

    @property
    def is_text(self) -> bool:
        """Whether `content` is what was made, not a file's name."""
        return self.mime.startswith("text/")


class Vote(Base):
    """One voter's word on one pair. The constraint is what makes a double click one vote, whichever process hears of it."""

    __tablename__ = "votes"
    __table_args__ = (UniqueConstraint("voter", "first", "second"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    voter: Mapped[str] = mapped_column(String(64))
    first: Mapped[str] = mapped_column(ForeignKey("outputs.id"))
    second: Mapped[str] = mapped_column(ForeignKey("outputs.id"))
    """The same as `first` in an attention check."""
    choice: Mapped[Choice] = mapped_column(String(8))
    left: Mapped[str] = mapped_column(String(64), default="")
    """Id of the output that stood on the left."""
    comment: Mapped[str] = mapped_column(Text, default="")
    made: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))


class Rating(Base):
    """One voter's stars for one output, 1 to 5; the last word counts."""

    __tablename__ = "ratings"
    __table_args__ = (UniqueConstraint("voter", "output"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    voter: Mapped[str] = mapped_column(String(64))
    output: Mapped[str] = mapped_column(ForeignKey("outputs.id"))
    stars: Mapped[int]
    made: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
