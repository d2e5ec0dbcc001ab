"""Who may call an endpoint: the key of the request, asked for one scope.

Invariant: an endpoint learns its workspace from the `Access` given here and from nothing else.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Path
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.keys import Access, AccessKeys
from schemas.errors import Problem
from schemas.ids import ID_LENGTH

ProfileId = Annotated[str, Path(description="profile_id, also one given out before a merge")]

_bearer = HTTPBearer(auto_error=False, description="A key of the workspace (kr_...)")


def no_key() -> Problem:
    """The refusal of a request that shows no live key."""
    return Problem("unknown_key", "Send a key: Authorization: Bearer kr_...")


def needs(keys: AccessKeys, scope: str) -> Callable[..., Awaitable[Access]]:
    """A dependency: the access of the caller's key. Raises Problem `unknown_key` or `wrong_scope`.

    A coroutine, because a thread for it would cost more than all else that the framework does for a request.
    """

    async def access(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Access:
        if given is None:
            raise no_key()
        return keys.access(given.credentials, scope)

    return access


def checked_id(text: str, pointer: str = "") -> str:
    """A text that has the form of an id. Raises Problem `unknown_profile`."""
    if len(text) != ID_LENGTH or set(text) - set("0123456789abcdef"):
        raise Problem("unknown_profile", pointer=pointer)
    return text
