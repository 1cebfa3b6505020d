"""The store of people's votes: SQLite in a folder by default, PostgreSQL by URL. What was stored has reached the disk when the call returns."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, insert, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session, aliased, sessionmaker

from tonggan.errors import UserError
from tonggan.feedback.tables import Base, Choice, Output, Rating, Vote

LOCK_SECONDS = 30
"""How long a writer waits for its turn."""
TRIES = 5
"""How often many votes are stored anew where other processes stored some of them meanwhile."""
AT_ONCE = 500
"""Voters that are asked for in one statement."""
INSERT: Mapping[str, Callable[..., sqlite.Insert | postgresql.Insert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""The statement that can pass over rows that are there already, by kind of database."""


class AlreadyVotedError(Exception):
    """The voter has said something else of this pair before; that word stands."""

    def __init__(self, vote: Vote) -> None:
        super().__init__(f"voter '{vote.voter}' said something else of {vote.first} and {vote.second} before")
        self.vote = vote


class StoreError(UserError):
    """The database does not do what it was asked: its disk is full, it may only be read, it is locked, it is gone. Nothing of the call was stored."""

    def __init__(self, url: URL, error: SQLAlchemyError) -> None:
        self.reason = _reason(error)
        super().__init__(f"the votes at {url} cannot be stored or read now: {self.reason}. Mend that, then give the same command again.")


@dataclass(frozen=True)
class Ballot:
    """A vote with what it was about."""

    voter: str
    choice: Choice
    first: Output
    second: Output
    comment: str = ""

    @property
    def is_check(self) -> bool:
        """Whether one and the same output stood on both sides."""
        return self.first.id == self.second.id


@dataclass(frozen=True)
class Stars:
    """A rating with what it was about."""

    voter: str
    stars: int
    output: Output


def store_url(folder: Path, url: str | None) -> str:
    """Return the URL of the store of an arena's folder: `url`, or the SQLite file in the folder."""
    return url or f"sqlite:///{folder / 'votes.sqlite'}"


class VoteStore:
    """Outputs, votes and ratings behind one URL; safe for many threads and processes at once.

    Every method raises `StoreError` where the database fails.
    """

    def __init__(self, url: str) -> None:
        """Open the store and make its tables where they are missing; raises `UserError` where it cannot be reached."""
        self.engine = _engine(url)
        try:
            Base.metadata.create_all(self.engine)
        except SQLAlchemyError as error:
            raise UserError(f"the votes at {self.engine.url} cannot be reached: {_reason(error)}. Check --votes.") from error
        self.sessions = sessionmaker(self.engine, expire_on_commit=False)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        """Let all that is done within be stored together; raises `StoreError` where the database fails, `IntegrityError` where it refuses a row."""
        try:
            with self.sessions.begin() as session:
                yield session
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise StoreError(self.engine.url, error) from error

    def register(self, outputs: Sequence[Output]) -> None:
        """Store the outputs that are not known yet; another process may store the same at the same time."""
        # In the order of their ids: in PostgreSQL two that store the same in other orders would wait for each other for ever.
        rows = [{name: value for name, value in vars(each).items() if not name.startswith("_")} for each in sorted(outputs, key=lambda each: each.id)]
        with self._transaction() as session:
            if rows:
                session.execute(INSERT[self.engine.dialect.name](Output).on_conflict_do_nothing(), rows)

    def vote(self, vote: Vote) -> bool:
        """Store a vote and return whether it is new; the same word once more is no other vote.

        Raises `AlreadyVotedError` where the voter said something else of this pair.
        """
        try:
            with self._transaction() as session:
                session.add(vote)
            return True
        except IntegrityError:
            with self._transaction() as session:
                theirs = (Vote.voter == vote.voter, Vote.first == vote.first, Vote.second == vote.second)
                stored = session.scalar(select(Vote).where(*theirs))
            if stored is None:
                raise
            if stored.choice != vote.choice:
                raise AlreadyVotedError(vote) from None
            return False

    def vote_all(self, votes: Sequence[Vote]) -> int:
        """Store many votes, all of them or none, and return how many are new.

        Raises `AlreadyVotedError` where a voter said something else of a pair, in the store or earlier among `votes`.
        """
        tries = 0
        while True:
            try:
                with self._transaction() as session:
                    new = _unsaid(votes, _said_by(session, sorted({vote.voter for vote in votes})))
                    if new:
                        session.execute(insert(Vote), new)
                return len(new)
            except IntegrityError:  # another process stored one of them after it was looked for; or an output is not known, and never will be
                tries += 1
                if tries == TRIES:
                    raise

    def withdraw_last(self, voter: str) -> bool:
        """Take the voter's latest vote back and return whether there was one."""
        with self._transaction() as session:
            last = session.scalar(select(Vote).where(Vote.voter == voter).order_by(Vote.id.desc()).limit(1))
            if last is not None:
                session.delete(last)
            return last is not None

    def rate(self, voter: str, output: str, stars: int) -> None:
        """Store stars for an output; the last word counts."""
        with self._transaction() as session:
            found = session.scalar(select(Rating).where(Rating.voter == voter, Rating.output == output))
            if found is not None:
                found.stars = stars
                return
        try:
            with self._transaction() as session:
                session.add(Rating(voter=voter, output=output, stars=stars))
        except IntegrityError:  # a double click: the other one was faster
            with self._transaction() as session:
                session.scalars(select(Rating).where(Rating.voter == voter, Rating.output == output)).one().stars = stars

    def answered(self, voter: str) -> set[tuple[str, str]]:
        """Return the pairs of output ids that a voter has voted on."""
        with self._transaction() as session:
            return {(first, second) for first, second in session.execute(select(Vote.first, Vote.second).where(Vote.voter == voter))}

    def ballots(self) -> dict[str, list[Ballot]]:
        """Return all votes by arrow, oldest first."""
        first, second = aliased(Output), aliased(Output)
        asked = select(Vote, first, second).join(first, first.id == Vote.first).join(second, second.id == Vote.second).order_by(Vote.id)
        found: dict[str, list[Ballot]] = defaultdict(list)
        with self._transaction() as session:
            for vote, one, other in session.execute(asked):
                found[one.arrow].append(Ballot(vote.voter, Choice(vote.choice), one, other, vote.comment))
        return dict(found)

    def ratings(self) -> dict[str, list[Stars]]:
        """Return all ratings by arrow."""
        found: dict[str, list[Stars]] = defaultdict(list)
        with self._transaction() as session:
            for rating, output in session.execute(select(Rating, Output).join(Output).order_by(Rating.id)):
                found[output.arrow].append(Stars(rating.voter, rating.stars, output))
        return dict(found)


def _said_by(session: Session, voters: Sequence[str]) -> dict[tuple[str, str, str], Choice]:
    """Return what voters said: (voter, first, second) -> choice."""
    said: dict[tuple[str, str, str], Choice] = {}
    for start in range(0, len(voters), AT_ONCE):
        asked = select(Vote.voter, Vote.first, Vote.second, Vote.choice).where(Vote.voter.in_(voters[start : start + AT_ONCE]))
        said |= {(voter, first, second): Choice(choice) for voter, first, second, choice in session.execute(asked)}
    return said


def _unsaid(votes: Sequence[Vote], said: dict[tuple[str, str, str], Choice]) -> list[dict[str, Any]]:
    """Return the rows of the votes that are new, in one order for all processes: two that store the same would wait for each other for ever."""
    new: dict[tuple[str, str, str], dict[str, Any]] = {}
    for vote in votes:
        place = (vote.voter, vote.first, vote.second)
        if place not in said:
            new[place] = {"voter": vote.voter, "first": vote.first, "second": vote.second, "choice": vote.choice, "comment": vote.comment}
        elif said[place] != vote.choice:
            raise AlreadyVotedError(vote)
        said[place] = Choice(vote.choice)
    return [new[place] for place in sorted(new)]


def model_names(outputs: Iterable[Output]) -> dict[tuple[str, str], str]:
    """Return what each (model, weights) is called: its name, with the weights behind where one name stands for several."""
    kinds = {(output.model, output.weights) for output in outputs}
    names = [name for name, _ in kinds]
    return {(name, weights): name if names.count(name) == 1 else f"{name} ({weights[:6]})" for name, weights in kinds}


def _reason(error: SQLAlchemyError) -> str:
    """Return what the database itself said, in a line."""
    return next(iter(str(getattr(error, "orig", error)).splitlines()), type(error).__name__)


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise UserError(f"--votes {parsed}: votes are kept in SQLite or PostgreSQL: sqlite:///FILE or postgresql://USER@HOST/NAME.")
        if parsed.get_backend_name() == "postgresql":
            if parsed.drivername == "postgresql":  # before SQLAlchemy 2.1 that would be psycopg2
                parsed = parsed.set(drivername="postgresql+psycopg")
            return create_engine(parsed, pool_pre_ping=True, pool_size=20)
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, pool_size=20, connect_args={"timeout": LOCK_SECONDS})
    except (ArgumentError, NoSuchModuleError) as error:
        raise UserError(f"--votes: not a URL of a database. Give sqlite:///FILE or postgresql://USER@HOST/NAME ({error}).") from error
    except ModuleNotFoundError as error:
        raise UserError(f"votes in PostgreSQL need psycopg: pip install 'psycopg[binary]' (the extra 'postgresql'). {error}.") from error
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    """Readers do not wait for writers (WAL); a commit returns when the disk has it (FULL)."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
