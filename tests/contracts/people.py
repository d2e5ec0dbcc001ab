"""A workspace whose people the steps themselves made, with the query API on it and a log that leads back to them.

Anna and Bella are refused by a limit (an email that both used), a shop's phone is shared, a number is blocked.
"""

import asyncio
import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from fastapi import FastAPI

from api.keys import AccessKeys, create_key
from api.query import create_app
from pipelines.local_job import LocalJob
from pipelines.log import LogSettings, open_log
from schemas.log_record import AnyRecord
from store.client import Store
from tests.worlds import RECEIVED_AT, World, lines

DATE = "2026-11-20"
DAY_US = 86_400_000_000
BLOCKED = "13800138000"
Ids = dict[str, str]


def track(day: int, ids: Ids, name: str = "Form Submitted") -> dict[str, Any]:
    """An event on a day of November 2026 with these identifiers, `namespace` or `namespace:scope` to value."""
    event: dict[str, Any] = {
        "type": "track", "event": name, "messageId": uuid4().hex, "timestamp": f"2026-11-{day:02}T03:00:00Z"
    }  # fmt: skip
    others = []
    for key, value in ids.items():
        namespace, _, scope = key.partition(":")
        if namespace in ("user_id", "anonymous_id"):
            event["userId" if namespace == "user_id" else "anonymousId"] = value
        else:
            others.append({"type": namespace, "id": value} | ({"scope": scope} if scope else {}))
    return event | ({"context": {"externalIds": others}} if others else {})


EARLY = [
    track(1, {"user_id": "anna", "phone": "13900000001"}),
    track(2, {"user_id": "anna", "anonymous_id": "cookie-a"}, "Page Viewed"),
    track(9, {"user_id": "anna", "anonymous_id": "cookie-a"}, "Page Viewed"),
    track(3, {"user_id": "anna", "email": "both@bluebird.cn"}),
    track(3, {"wechat_openid:wx2": "oAnna", "email": "both@bluebird.cn"}),
    *[track(7, {"phone": "13900000009", "wechat_openid:wx1": f"o{n}"}) for n in range(3)],
]
"""Received on the 10th."""
LATE = [
    track(4, {"user_id": "bella", "phone": "13900000002"}),
    track(5, {"user_id": "bella", "anonymous_id": "cookie-b"}, "Page Viewed"),
    track(6, {"user_id": "bella", "email": "both@bluebird.cn"}),
    *[track(7, {"phone": "13900000009", "wechat_openid:wx1": f"o{n}"}) for n in range(3, 6)],
    track(8, {"phone": BLOCKED, "wechat_openid:wx1": "o1"}),
    track(8, {"phone": BLOCKED, "user_id": "bella"}),
    track(8, {"user_id": "carl"}),
]
"""Received on the 16th."""


class Client:
    """Calls of an application in this process, with one key."""

    def __init__(self, app: FastAPI, key: str) -> None:
        self._app = app
        self._headers = {"Authorization": f"Bearer {key}"}

    def get(self, path: str, **rest: Any) -> httpx.Response:
        return asyncio.run(self._call("GET", path, rest))

    def post(self, path: str, **rest: Any) -> httpx.Response:
        return asyncio.run(self._call("POST", path, rest))

    def delete(self, path: str, **rest: Any) -> httpx.Response:
        return asyncio.run(self._call("DELETE", path, rest))

    async def _call(self, method: str, path: str, rest: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api", headers=self._headers
        ) as http:
            return await http.request(method, path, **rest)


class People:
    """The workspace."""

    def __init__(self, store: Store, home: Path) -> None:
        self.store = store
        self.world = World(home, f"people-{uuid4().hex[:8]}")
        self.name = self.world.name
        self.job = LocalJob(store, home)
        self.log = open_log(LogSettings(home=home / f"log-{self.name}"))
        app = create_app(store, AccessKeys(home), home, self.log)
        self.read, self.steward = (
            Client(app, create_key(home, self.name, scope)) for scope in ("read", "steward")
        )
        world = self.world
        control: list[AnyRecord] = [world.opened("g1"), world.activated("g1"), world.date(DATE)]
        self.job.run(lines([*control, *world.events(EARLY, received_at=RECEIVED_AT - 11 * DAY_US)]))
        self.job.run(lines(world.events(LATE, received_at=RECEIVED_AT - 5 * DAY_US)))
        self._taken: set[bytes] = set()

    def close(self) -> None:
        """Give up the log."""
        self.log.close()

    def id(self, namespace: str, value: str) -> str:
        """identifier_id."""
        name, _, scope = namespace.partition(":")
        return self.world.identifier(name, value, scope)

    def follow(self) -> list[bytes]:
        """Let the job take up what the API wrote to the log; those lines."""
        self.log.mark([self.name])
        new = [line for line in self.log.read() if line not in self._taken]
        self._taken.update(new)
        self.job.run(new)
        return new

    def profiles(self) -> dict[str, set[str]]:
        """profile_id -> members, as stored, of every identifier that clusters."""
        found: dict[str, set[str]] = {}
        for identifier, profile in self.store.query_rows(
            "SELECT identifier_id, if(m.profile_id = '', identifier_id, m.profile_id)"
            " FROM (SELECT DISTINCT identifier_id FROM kintsugi_store.sightings WHERE workspace = {w:String}) AS s"
            " LEFT JOIN (SELECT * FROM kintsugi_store.identity_map FINAL WHERE workspace = {w:String}"
            " AND generation = 'g1') AS m ON s.identifier_id = m.identifier_id WHERE m.state IN ('', 'member')",
            {"w": self.name},
        ):
            found.setdefault(profile, set()).add(identifier)
        return found


def outlines(answers: list[dict[str, Any]]) -> dict[str, set[str]]:
    """profile_id -> members of the profiles of an answer."""
    return {a["profile_id"]: {i["identifier_id"] for i in a["identifiers"]} for a in answers}


def crowd(seed: int, count: int = 150) -> list[dict[str, Any]]:
    """Events of people who share devices, numbers and addresses, so that limits and sharing come about."""
    chance = random.Random(seed)
    pools = {"user_id": 25, "phone": 25, "email": 15, "anonymous_id": 30, "wechat_openid:wx1": 20}
    events = []
    for _ in range(count):
        chosen = chance.sample(sorted(pools), 2)
        ids = {key: _value(key, chance.randrange(pools[key])) for key in chosen}
        events.append(track(chance.randrange(1, 20), ids))
    return events


def _value(key: str, number: int) -> str:
    forms = {"phone": f"139000001{number:02}", "email": f"p{number}@example.org"}
    return forms.get(key, f"{key.partition(':')[0]}-{number}")


def day(number: int) -> str:
    """ISO date of a day of November 2026."""
    return (date(2026, 11, 1) + timedelta(number - 1)).isoformat()
