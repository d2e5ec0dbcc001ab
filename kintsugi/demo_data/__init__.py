"""Seeded journeys of contacts through WeChat B2B marketing, with the truth of who did what.

Invariant: the same arguments give the same bytes on every machine: randomness comes from one `random.Random`,
and floats meet nothing but + - * /, which IEEE 754 fixes. Memory does not grow with the number of events.
"""

from kintsugi.demo_data.journeys import Batch, journeys
from kintsugi.demo_data.truth import Truth

__all__ = ["Batch", "Truth", "journeys"]
