"""The query API: unified profiles by any identifier, for the marketing app.

Invariant: a workspace comes from the caller's key and from nothing else; values of people travel in bodies,
never in a URL; nothing blocks the event loop for more than a millisecond (the store is asked in threads, and ids of
many identifiers are made in one).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api import answers, assertions, changes, explain, masking, overrides, problems, scores
from api.coalesce import Coalescer
from api.excluded import ExcludedAnswer, excluded
from api.guard import ProfileId, needs
from api.identifiers import Named, SecretsOf, name
from api.keys import Access, AccessKeys
from api.metering import BodyCap, Metering, RateCap
from api.profiles import Found, ProfileReader, ProfileRow
from api.stewardship import Appender
from schemas.errors import Problem
from schemas.ids import ID_LENGTH
from store.client import Store, StoreRefused
from store.keyring import KeyGeneration

_DESCRIPTION = """Golden records of the workspace that your key belongs to.

Send a read key: `Authorization: Bearer kr_...`. Identifiers are masked and sensitive traits hidden unless the
key has the scope `pii`; overrides, splits, merges, the review and assertions need the scope `steward`. An identifier
in a body is `{"namespace": ..., "scope": ..., "value": ...}`, with a scope where the namespace has one; what explains
or takes a word also takes `{"identifier_id": ...}`. Every answer says how fresh it is: records are read
when you ask, ruleset and date in force are at most a second old. Errors are
`application/problem+json` with a stable `code`."""
_FEW = 50
"""Identifiers whose ids are made sooner (5 to 10 µs each) than a thread is asked."""
_NO_STORE = {"Cache-Control": "no-store"}


class Query:
    """What the endpoints do, for one store, set of keys and keyring."""

    def __init__(self, store: Store, keys: AccessKeys, home: Path) -> None:
        self.store = store
        self.reader = ProfileReader(store)
        self.keys = keys
        self.secrets_of = SecretsOf(home)
        self.coalescer: Coalescer[tuple[str, bool], Found] = Coalescer(self._find)
        self.metering = Metering(lambda: self.coalescer.asked)

    async def lookup(self, access: Access, wanted: list[answers.IdentifierQuery]) -> answers.LookupAnswer:
        """One item per identifier, in order."""
        few = len(wanted) <= _FEW
        named = (
            self._named(access.workspace, wanted)
            if few
            else await asyncio.to_thread(self._named, access.workspace, wanted)
        )
        ids = {each.identifier_id for each in named if each.identifier_id}
        self.metering.looked_up(len(ids))
        found = await self.coalescer.get((access.workspace, False), sorted(ids))
        in_force = (
            next(iter(found.values())).in_force
            if found
            else await asyncio.to_thread(self.reader.in_force, access.workspace)
        )
        shown = await self._shown(access, [each.profile for each in found.values() if each.profile])
        items = [
            answers.item(i, found[i], shown.get(found[i].profile_id) if found[i].profile else None)
            if i
            else answers.invalid(reason)
            for i, reason in named
        ]
        return answers.LookupAnswer(
            items=items, masked="pii" not in access.scopes, freshness=answers.freshness(in_force)
        )

    async def profile(self, access: Access, profile_id: str) -> answers.ProfileAnswer | ExcludedAnswer:
        """The profile that a profile_id leads to now, or those that its events went to when it is shared.

        Raises Problem `unknown_profile`.
        """
        self.metering.looked_up(1)
        found = (await self.coalescer.get((access.workspace, True), [profile_id]))[profile_id]
        if found.state in ("shared", "blocked"):
            told = (access.workspace, found.in_force, profile_id, found.state)
            return await asyncio.to_thread(excluded, self.store, *told)
        if found.profile is None:
            raise Problem("unknown_profile")
        shown = await self._shown(access, [found.profile])
        return answers.ProfileAnswer(
            profile=shown[found.profile_id],
            redirected_from=profile_id if profile_id != found.profile_id else None,
            masked="pii" not in access.scopes,
            freshness=answers.freshness(found.in_force),
        )

    async def health(self) -> answers.Health:
        """Raises Problem `store_unavailable` when the store does not answer."""
        if not await asyncio.to_thread(self.store.ping):
            raise Problem("store_unavailable")
        return answers.Health(status="ok", as_of=await asyncio.to_thread(self.reader.oldest_date))

    def _find(self, group: tuple[str, bool], ids: list[str]) -> dict[str, Found]:
        workspace, are_profiles = group
        return self.reader.find(workspace, ids, are_profiles=are_profiles)

    def _named(self, workspace: str, wanted: list[answers.IdentifierQuery]) -> list[Named]:
        secrets = self.secrets_of(workspace)
        return [name(secrets, each.namespace, each.scope, str(each.value)) for each in wanted]

    async def _shown(self, access: Access, rows: list[ProfileRow]) -> dict[str, answers.Profile]:
        """profile_id -> the profile as this reader sees it."""
        if "pii" not in access.scopes:
            return {row.profile_id: answers.profile(row, masking.masked(row)) for row in rows}
        return await asyncio.to_thread(self._opened, access.workspace, rows)

    def _opened(self, workspace: str, rows: list[ProfileRow]) -> dict[str, answers.Profile]:
        keys: KeyGeneration = self.secrets_of(workspace).keys
        return {row.profile_id: answers.profile(row, masking.clear(row, keys)) for row in rows}


def create_app(
    store: Store,
    keys: AccessKeys,
    home: Path,
    log: Appender | None = None,
    *,
    body_timeout: float = 30.0,
    rate: float = 500,
) -> FastAPI:
    """The query API on a store, with the access keys and the keyring of `home`.

    Without a log stewards can preview and nothing more. A body that takes longer than `body_timeout` seconds to arrive
    is given up; a key may send `rate` requests per second for long.

    Give the store little patience (about 2 s): a caller who waits longer would rather be told.
    """
    query = Query(store, keys, home)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        query.coalescer.close()

    app = FastAPI(title="Kintsugi query API", version="1", description=_DESCRIPTION, lifespan=lifespan)
    problems.install(app)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(StoreRefused, _on_refused)
    app.add_middleware(BodyCap, timeout=body_timeout)
    app.add_middleware(RateCap, keys=keys, rate=rate)
    app.add_middleware(query.metering.middleware)
    app.state.query = query
    _routes(app, query)
    explain.install(app, store, keys, query.secrets_of)
    scores.install(app, store, keys)
    overrides.install(app, store, keys, query.secrets_of, log)
    assertions.install(app, store, keys, query.secrets_of, log)
    changes.install(app, store, keys)
    return app


def _routes(app: FastAPI, query: Query) -> None:
    reads = Annotated[Access, Depends(needs(query.keys, "read"))]

    @app.post(
        "/v1/profiles/lookup",
        summary="Look up identifiers",
        responses=problems.may(413),
    )
    async def lookup(body: answers.LookupRequest, access: reads, response: Response) -> answers.LookupAnswer:
        """Profiles of up to 1,000 identifiers in any spelling, in the order asked."""
        response.headers.update(_NO_STORE)
        return await query.lookup(access, body.identifiers)

    @app.get(
        "/v1/profiles/{profile_id}",
        summary="Read a profile",
        responses={
            300: {"model": ExcludedAnswer, "description": "It is shared or blocked: where its events went"},
            307: {"model": answers.ProfileAnswer, "description": "It joined another profile, which is given"},
            **problems.may(404),
        },
    )  # fmt: skip
    async def profile(
        profile_id: ProfileId, access: reads, response: Response
    ) -> answers.ProfileAnswer | ExcludedAnswer:
        """The profile with this id.

        Every id that was ever given out still leads to a profile. Where that profile has joined another, the
        status is 307 with the Location of the other, and the body holds it already. A merge can be undone, so
        the redirection is temporary and never cached. An identifier that has become shared names no profile: the
        status is 300, and the body says for which profiles its events count.
        """
        if len(profile_id) != ID_LENGTH or set(profile_id) - set("0123456789abcdef"):
            raise Problem("unknown_profile")
        answer = await query.profile(access, profile_id)
        response.headers.update(_NO_STORE)
        if isinstance(answer, ExcludedAnswer):
            response.status_code = 300
        elif answer.redirected_from:
            response.status_code = 307
            response.headers["Location"] = f"/v1/profiles/{answer.profile.profile_id}"
        return answer

    @app.get("/health", summary="Is it well?", responses={503: {"content": {problems.MEDIA_TYPE: {}}}})
    async def health() -> answers.Health:
        """Whether the store answers, and the oldest date in force."""
        return await query.health()

    @app.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def metrics() -> Response:
        """Counts and durations; no names of workspaces, no ids."""
        return Response(generate_latest(query.metering.registry), media_type=CONTENT_TYPE_LATEST)


async def _on_invalid(request: Request, error: Exception) -> Response:
    """Unreadable JSON and too many items have codes of their own; the rest as everywhere."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    pointer = "".join(f"/{part}" for part in first["loc"][1:])
    if first["type"] == "json_invalid":
        return problems.answer(Problem("bad_json", pointer=pointer))
    if first["type"] == "too_long" and first["loc"] == ("body", "identifiers"):
        most = f"a request may hold {answers.MOST_IDENTIFIERS} identifiers"
        return problems.answer(Problem("too_many_items", most, pointer))
    return problems.answer(Problem("bad_request", first["msg"], pointer))


async def _on_refused(request: Request, error: Exception) -> Response:
    return problems.answer(Problem("store_unavailable", "The store refuses the question."))
