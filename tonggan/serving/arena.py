"""The arena's server: hands out pairs, takes votes. A vote is answered with 200 after the disk has it."""

import hashlib
import re
import secrets
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import BackgroundTasks, Cookie, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from pydantic import Field, field_validator
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from tonggan.errors import UserError
from tonggan.feedback.tables import Choice, Vote
from tonggan.feedback.votes import AlreadyVotedError, StoreError, VoteStore
from tonggan.serving.contest import Contest, mime_of
from tonggan.serving.schedule import ForgedTicketError, Round, Schedule
from tonggan.strict import Strict

PAGE = Path(__file__).with_name("page.html")
LONGEST_COMMENT = 2000
LARGEST_BODY = 16 * 1024
"""Bytes of a request; a comment of the longest kind fits four times."""
COOKIE_SECONDS = 365 * 24 * 3600
VOTER = re.compile(r"[\w-]{22}", re.ASCII)
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; media-src 'self'; connect-src 'self'; script-src 'unsafe-inline';"
    " style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Said(Strict):
    """A vote as the page sends it."""

    ticket: str = Field(max_length=64)
    choice: Literal["left", "right", "tie", "bad"]
    comment: str = Field(default="", max_length=LONGEST_COMMENT)

    @field_validator("comment", mode="before")
    @classmethod
    def _storable(cls, comment: Any) -> Any:
        """Leave out what no database stores: NUL, and the half of an emoji that a browser's limit cut in two."""
        return comment.replace("\0", "").encode("utf-8", "replace").decode() if isinstance(comment, str) else comment


class Stars(Strict):
    """Stars for one output as the page sends them."""

    ticket: str = Field(max_length=64)
    side: Literal["left", "right"]
    stars: int = Field(ge=1, le=5)


def voter_of(voter: Annotated[str | None, Cookie()] = None) -> str:
    """Return the name under which votes of a browser are kept: a hash, so that nobody votes for others with what the store holds."""
    if voter is None or not VOTER.fullmatch(voter):
        raise HTTPException(400, "no voter's cookie: open the page first.")
    return hashlib.sha256(voter.encode()).hexdigest()[:32]


Voter = Annotated[str, Depends(voter_of)]


class Arena:
    """What voters ask for and say; each method answers one address of `build_app`."""

    def __init__(self, contest: Contest, store: VoteStore) -> None:
        self.contest, self.store = contest, store
        self.schedule = Schedule(contest.pairs, contest.secret)
        self.page = PAGE.read_text(encoding="utf-8")
        self.prompt_files = {file.name: file for file in contest.prompt_files.values()}

    def show_page(self, voter: Annotated[str | None, Cookie()] = None) -> HTMLResponse:
        """Answer with the page, and with a voter's cookie where there is none."""
        response = HTMLResponse(self.page, headers=HEADERS)
        if voter is None or not VOTER.fullmatch(voter):
            response.set_cookie("voter", secrets.token_urlsafe(16), max_age=COOKIE_SECONDS, httponly=True, samesite="strict")
        return response

    def hand_out(self, voter: Voter, meanwhile: BackgroundTasks) -> dict[str, Any]:
        """Answer with the voter's next pair, made if need be; the one after it is made while the voter looks."""
        left, total = self._open_places(voter), len(self.schedule.rounds(voter))
        progress = {"done": total - len(left), "total": total}
        if not left:
            return progress
        asked, *following = (self.schedule.rounds(voter)[place] for place in left[:2])
        self.contest.ensure((asked.left, asked.right))
        for later in following:
            meanwhile.add_task(self.contest.ensure, (later.left, later.right))
        prompt, file = self.contest.prompt_of(asked.left)
        shown = {"mime": "text/plain", "text": prompt.text} if file is None else _shown(file)
        outputs = {side: _shown(self.contest.files[output]) for side, output in (("left", asked.left), ("right", asked.right))}
        return progress | {"ticket": self.schedule.ticket(voter, left[0]), "prompt": shown, **outputs}

    def take_vote(self, said: Said, voter: Voter) -> dict[str, bool]:
        """Store a vote and say whether it is new."""
        asked = self._redeemed(voter, said.ticket)
        choice = Choice(said.choice) if said.choice in ("tie", "bad") else _preferring(asked, said.choice)
        try:
            new = self.store.vote(Vote(voter=voter, first=asked.first, second=asked.second, choice=choice, left=asked.left, comment=said.comment))
        except AlreadyVotedError:
            raise HTTPException(409, "you have voted on this pair already: take that vote back first.") from None
        return {"new": new}

    def take_back(self, voter: Voter) -> dict[str, bool]:
        """Withdraw the voter's last vote and say whether there was one."""
        return {"undone": self.store.withdraw_last(voter)}

    def take_stars(self, said: Stars, voter: Voter) -> dict[str, bool]:
        """Store stars for one of the two outputs."""
        asked = self._redeemed(voter, said.ticket)
        self.store.rate(voter, asked.left if said.side == "left" else asked.right, said.stars)
        return {"saved": True}

    def show_file(self, name: str) -> Response:
        """Answer with an output or what prompts are shown by, and with no other file."""
        file = self.prompt_files.get(name) or self.contest.files.get(Path(name).stem)
        if file is None or file.name != name:
            raise HTTPException(404, "no such output.")
        return FileResponse(file, media_type=mime_of(file), headers=HEADERS | {"Cache-Control": "private, max-age=86400, immutable"})

    def _redeemed(self, voter: str, ticket: str) -> Round:
        try:
            return self.schedule.redeem(voter, ticket)
        except ForgedTicketError:
            raise HTTPException(400, "this pair was not given to you, or the arena has changed: reload the page.") from None

    def _open_places(self, voter: str) -> list[int]:
        answered = self.store.answered(voter)
        return [place for place, asked in enumerate(self.schedule.rounds(voter)) if (asked.first, asked.second) not in answered]


def build_app(contest: Contest, store: VoteStore) -> FastAPI:
    """Return the application that serves a contest and stores its votes."""
    app, arena = FastAPI(title="tonggan arena", docs_url=None, redoc_url=None, openapi_url=None), Arena(contest, store)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=LARGEST_BODY)
    app.get("/")(arena.show_page)
    app.get("/next")(arena.hand_out)
    app.post("/vote")(arena.take_vote)
    app.post("/undo")(arena.take_back)
    app.post("/rate")(arena.take_stars)
    app.get("/media/{name}")(arena.show_file)

    @app.exception_handler(RequestValidationError)
    def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
        wrong = ", ".join(str(each["loc"][-1]) for each in error.errors())
        return JSONResponse({"detail": f"not a vote: {wrong}."}, 422)

    @app.exception_handler(StoreError)
    def not_saved(request: Request, error: StoreError) -> JSONResponse:
        return JSONResponse({"detail": f"the votes cannot be stored now: {error.reason}."}, 503)

    @app.exception_handler(UserError)
    def not_made(request: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 507)

    return app


def _preferring(asked: Round, side: str) -> Choice:
    chosen = asked.left if side == "left" else asked.right
    return Choice.FIRST if chosen == asked.first else Choice.SECOND


def _shown(file: Path) -> dict[str, str]:
    """Return what the page needs in order to show a file: a text itself, an address of anything else."""
    mime = mime_of(file)
    return {"mime": mime} | ({"text": file.read_text(encoding="utf-8")} if mime.startswith("text/") else {"url": f"media/{file.name}"})


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that waits for voters; raises `UserError` where the address is taken or not this machine's."""
    try:
        return socket.create_server((host, port), backlog=1024)
    except OSError as error:
        raise UserError(f"{host}:{port} cannot be listened on: {error.strerror}. Choose another --port or --host.") from error


def serve(app: FastAPI, waiting: socket.socket) -> None:
    """Serve until the process is told to end."""
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[waiting])
