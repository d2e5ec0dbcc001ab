"""What data must be like to be trusted: one suite of expectations per kind of thing, for Great Expectations.

Invariant: suites only read, and tell of rows by count, never by content, so a report holds nothing personal. This
package loads Great Expectations, which takes seconds and 300 MB: only `kintsugi quality` and its tests import it.
"""

from collections.abc import Callable

from schemas.expectations import events, identities, links, profiles, score_facts
from schemas.expectations.suite import Batch, Scope, Suite

SUITES: tuple[Callable[[Scope], Suite], ...] = (
    events.suite,
    identities.suite,
    links.suite,
    profiles.suite,
    score_facts.suite,
)
"""In the order of the flow: what goes wrong first is told first."""

__all__ = ["SUITES", "Batch", "Scope", "Suite"]
