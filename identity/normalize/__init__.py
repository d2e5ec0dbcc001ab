"""From events to identifiers, traits and channels: everything about their form, nothing about who is who.

Invariant: what an event says depends on the event and on workspace.yaml alone, never on identity.yaml.
"""

from identity.normalize.forms import normalize
from identity.normalize.mask import mask
from identity.normalize.patterns import kind_of, patterns_of
from identity.normalize.reading import (
    channel_of,
    channels_of,
    identifier_problems,
    identifiers_of,
    raw_identifiers_of,
    traits_of,
)

__all__ = [
    "channel_of",
    "channels_of",
    "identifier_problems",
    "identifiers_of",
    "kind_of",
    "mask",
    "normalize",
    "patterns_of",
    "raw_identifiers_of",
    "traits_of",
]
