"""A handful of people in a workspace of their own, written to the tables as the job writes them.

Anna: phone, email (whose profile joined hers) and openid. Bob: an anonymous id and nothing else. A shop's
phone that is shared, a number that is blocked, and an openid that was seen and not scored yet.
"""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from api.identifiers import SecretsOf, name
from identity.normalize import kind_of, mask, normalize, patterns_of
from schemas import arrow
from schemas.workspace import parse_workspace
from scoring.decay import half_life_weights
from store import keyring
from store.client import Store

AS_OF = date(2026, 11, 21)
GENERATION = "rules-2"
WEIGHTS = {"price_page": half_life_weights(14), "complaint": half_life_weights(3)}
ANNA = [
    ("phone", "", "138 0013 8001"),
    ("email", "", "Anna@Example.com"),
    ("wechat_openid", "wx1", "oAnna000001"),
]
BOB = ("anonymous_id", "", "cookie-of-bob")
SHOP = ("phone", "", "13900139000")
BLOCKED = ("phone", "", "13800138000")
UNSCORED = ("wechat_openid", "wx1", "oNew0000001")
_SECOND = 1_000_000
_T0 = 1_795_000_000 * _SECOND
_HITS = pa.schema(
    {
        "workspace": pa.utf8(), "generation": pa.utf8(), "identifier_id": pa.utf8(), "event_id": pa.utf8(),
        "occurred_at": arrow.TIME, "day": arrow.DAY, "robot": pa.utf8(), "rules": arrow.IDS,
        "amounts": pa.list_(pa.int64()), "keys": arrow.IDS, "identifiers": arrow.IDS,
    }
)  # fmt: skip

Raw = tuple[str, str, str]


def day(value: date) -> int:
    """Days since 1970-01-01."""
    return (value - date(1970, 1, 1)).days


class Golden:
    """A workspace with keys in the keyring of `home` and rows in the store."""

    def __init__(self, store: Store, home: Path) -> None:
        self.store = store
        self.workspace = f"golden-{uuid4().hex[:8]}"
        text = parse_workspace(self.workspace, "").to_json()
        self.keys = keyring.create(home, self.workspace, text)
        self._secrets = SecretsOf(home)(self.workspace)
        self.anna = [self.id(raw) for raw in ANNA]
        self.bob, self.shop, self.blocked = self.id(BOB), self.id(SHOP), self.id(BLOCKED)
        self.unscored = self.id(UNSCORED)

    def id(self, raw: Raw) -> str:
        """identifier_id of an identifier as people write it."""
        named = name(self._secrets, *raw)
        assert named.identifier_id, named
        return named.identifier_id

    def insert(self, table: str, *rows: dict[str, Any]) -> None:
        """Rows by name of column; what a row leaves out is empty, workspace and generation are these."""
        schema = arrow.TABLES[table]
        common = {"workspace": self.workspace, "generation": GENERATION, "version": 1}
        filled = [tuple({**common, **row}.get(f.name, _empty(f)) for f in schema) for row in rows]
        self.store.insert_arrow(f"kintsugi_store.{table}", arrow.table(table, filled))

    def profile(self, profile_id: str, members: list[str], **columns: Any) -> None:
        """One golden record."""
        basic = {"profile_id": profile_id, "members": sorted(members), "as_of": day(AS_OF), "event_count": 1}
        self.insert("profile_rows", basic | columns)

    def in_force(self, on: date = AS_OF, generation: str = GENERATION, version: int = 1) -> None:
        """Move the pointer."""
        self.insert("in_force", {"generation": generation, "as_of": day(on), "version": version})

    def fill(self) -> "Golden":
        """Everything."""
        weights = [(rule, list(table)) for rule, table in WEIGHTS.items()]
        self.insert("generations", {"ruleset": "{}", "weights": weights, "opened_at": _T0})
        self._identifiers()
        self._profiles()
        self._events()
        self._journal()
        self.in_force(date(2026, 11, 20), "rules-1", version=1)
        self.in_force(version=2)
        self.insert("progress", {"segment": "s1", "recorded_at": _T0})
        return self

    def _identifiers(self) -> None:
        for raw in [*ANNA, BOB, SHOP, BLOCKED, UNSCORED]:
            namespace, scope, text = raw
            value = normalize(self._secrets.workspace.namespaces[namespace], text, "CN")
            assert value is not None
            kind = kind_of(namespace, patterns_of(value))
            row = {"identifier_id": self.id(raw), "namespace": namespace, "scope": scope, "kind": kind,
                   "mask": mask(namespace, value), "sealed": self.keys.seal(value.encode())}  # fmt: skip
            self.insert("identifiers", row, row)
            for seen in (date(2026, 3, 1), date(2026, 11, 2)):
                self.insert("sightings", {"identifier_id": self.id(raw), "kind": kind, "day": day(seen)})

    def _profiles(self) -> None:
        phone, email, _ = self.anna
        for iid in self.anna:
            self.insert("identity_map", {"identifier_id": iid, "profile_id": iid, "state": "member"})
            self.insert(
                "identity_map", {"identifier_id": iid, "profile_id": phone, "state": "member", "version": 2}
            )
        for iid, reason in ((self.shop, "shared"), (self.blocked, "blocked")):
            self.insert("identity_map", {"identifier_id": iid, "profile_id": iid, "state": reason})
            self.insert("excluded_identifiers", {"identifier_id": iid, "reason": reason})
        # was shared once, no longer is
        self.insert("excluded_identifiers", {"identifier_id": self.bob, "reason": "shared"})
        self.insert("excluded_identifiers", {"identifier_id": self.bob, "reason": "", "version": 2})
        self.profile(email, [email], event_count=7)
        self.profile(email, [], is_tombstone=1, version=2)
        self.profile(phone, [phone], stage="lead")
        self.profile(
            phone, self.anna, version=2, stage="mql", tags=["vip"], segments=["mql-shanghai", "webinar"],
            identifiers=[("email", ["a***@example.com"]), ("phone", ["138****8001"]), ("wechat_openid", ["****0001"])],
            traits=[("city", "Shanghai")], sealed_traits=[("name", self.keys.seal("安娜".encode()))],
            points=[("webinar", 20_000), ("inactivity", -5_000)], identity_points=[("target_city", 15_000)],
            decaying=[
                {"rule": "price_page", "day": AS_OF, "amount": 8_000},
                {"rule": "price_page", "day": date(2026, 11, 7), "amount": 8_000},
                {"rule": "complaint", "day": date(2026, 11, 20), "amount": -1_001},
                {"rule": "complaint", "day": date(2026, 11, 22), "amount": -9_000},
            ],
            first_channel="qr", last_channel="mail", owner="li",
            event_count=1, next_change_on=day(date(2026, 12, 1)),
        )  # fmt: skip
        self.profile(self.bob, [self.bob])
        self.insert("profile_rows", {"profile_id": self.bob, "generation": "rules-1", "stage": "old"})

    def _events(self) -> None:
        phone, email, _ = self.anna
        carried = {"e1": [phone, email], "e2": [self.shop, self.bob], "e3": [self.shop], "e4": [self.blocked]}
        usable = {"e1": [phone, email], "e2": [self.shop, self.bob], "e3": [self.shop], "e4": []}
        for event, ids in carried.items():
            row = {"event_id": event, "type": "track", "event": "Order Completed", "properties": '{"n":1}',
                   "message_id": "m1" if event in ("e1", "e2") else event, "source": "web",
                   "identifiers": ids, "kinds": ["phone"] * len(ids), "sealed": "secret"}  # fmt: skip
            self.insert("events", row | {"received_at": _T0 + 5}, row | {"received_at": _T0})
            self.insert("events", row | {"received_at": _T0 + 9})
            for iid in usable[event]:
                self.hit(iid, event, usable[event])
                self.hit(iid, event, usable[event])

    def hit(self, identifier_id: str, event_id: str, identifiers: list[str]) -> None:
        """The row of an order, which a rule matches, for one of its usable identifiers, strongest first."""
        row = {
            "workspace": self.workspace, "generation": GENERATION, "identifier_id": identifier_id,
            "event_id": event_id, "day": AS_OF, "robot": "", "rules": ["order"], "amounts": [5_000], "keys": [""],
            "occurred_at": datetime.fromtimestamp(_T0 // _SECOND, UTC),
            "identifiers": identifiers,
        }  # fmt: skip
        self.store.insert_arrow("kintsugi_store.event_hits", pa.Table.from_pylist([row], schema=_HITS))

    def _journal(self) -> None:
        phone, email, openid = self.anna
        change = {"identifier_id": email, "from_profile": email, "to_profile": phone, "cause": "link"}
        self.insert("identity_changes", {"changed_at": _T0, **change}, {"changed_at": _T0, **change})
        refused = {"a": min(openid, self.bob), "b": max(openid, self.bob)}
        self.insert("refused_links", refused | {"reason": "limit", "blocker": "user_id: 1"})
        self.insert("refused_links", {"a": phone, "b": email, "reason": "limit"})
        self.insert("refused_links", {"a": phone, "b": email, "reason": "", "version": 2})
        self.insert(
            "rejects", {"reject_id": "r1", "code": "wrong_type", "pointer": "/event", "sealed": "secret"}
        )


def _empty(field: Any) -> Any:
    if field.nullable and field.name == "next_change_on":
        return None
    kind = str(field.type)
    if kind == "string":
        return ""
    return [] if kind.startswith(("list", "map")) else 0
