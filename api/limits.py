"""How often a key, or an address that shows no valid key, may call: token buckets in memory.

Invariant: memory is bounded by MOST buckets whatever addresses call; a bucket that is full again is the same as none.
"""

import math
import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from starlette.types import Scope

from schemas.errors import Problem

BURST_S = 10
"""A bucket holds what its rate gives in so many seconds."""
STRANGER_RATE = 100
"""Requests per second without a valid key from one address."""
MOST = 20_000
"""Buckets that are kept; beyond, the one that was used longest ago goes."""


class TooManyRequests(Problem):
    """The bucket is empty; after `retry_after` seconds it is not."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too_many_requests")
        self.retry_after = retry_after


class Buckets:
    """Token buckets by name, each filled with `rate` tokens per second up to BURST_S seconds' worth.

    Of a bucket only the time is kept at which it will be full (the generic cell rate algorithm, ITU-T I.371), so
    each call takes constant time.
    """

    def __init__(self, rate: float, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._now = now
        self._full_at: dict[str, float] = {}

    def take(self, name: str) -> None:
        """Take a token. Raises TooManyRequests where none is left."""
        full_at = max(self._full_at.pop(name, 0.0), self._now())
        self._full_at[name] = full_at  # the last one now, also when it is refused
        if len(self._full_at) > MOST:
            del self._full_at[next(iter(self._full_at))]
        wait = full_at + 1 / self._rate - BURST_S - self._now()
        if wait > 1e-9:  # what rounding leaves
            raise TooManyRequests(max(1, math.ceil(wait)))
        self.charge(name, 1)

    def charge(self, name: str, tokens: float) -> None:
        """Take so many tokens from a bucket that `take` was asked for, as a debt where they are not there."""
        self._full_at[name] = max(self._full_at.get(name, 0.0), self._now()) + tokens / self._rate


def address_of(scope: Scope) -> str:
    """Whom a request comes from: the address, of IPv6 the network of 64 bits that one subscriber has."""
    client = scope.get("client")
    try:
        address = ip_address(client[0] if client else "")
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))
    return str(address)
