"""People at the page, without the page: a connection with a cookie that asks and answers as the page does."""

import http.client
import json
from typing import Any


class Voter:
    """One browser."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.connection.request("GET", "/")
        response = self.connection.getresponse()
        response.read()
        self.cookie = response.getheader("Set-Cookie", "").partition(";")[0]

    def ask(self, path: str, said: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Send what is said, or ask where nothing is, and return status and answer."""
        body = None if said is None else json.dumps(said)
        self.connection.request("GET" if said is None else "POST", path, body, {"Cookie": self.cookie, "Content-Type": "application/json"})
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())

    def vote(self, choice: str = "left") -> tuple[int, str]:
        """Vote on the next pair and return (status, its ticket)."""
        ticket = self.ask("/next")[1]["ticket"]
        return self.ask("/vote", {"ticket": ticket, "choice": choice})[0], ticket
