"""A profile as a picture: a small SVG of its identifiers and what holds them together.

Invariant: equal graphs give equal bytes, and a label shows masks only.
"""

import math
from itertools import combinations
from xml.sax.saxutils import escape

import networkx as nx

from api.explained import GraphAnswer, Node
from schemas.errors import Problem

_COLOURS = (
    "#1b6ca8", "#c8553d", "#3a7d44", "#8a4f9e", "#b7791f", "#2a9d8f", "#6b4226", "#d1495b", "#5c677d", "#7a9e1f"
)  # fmt: skip
MOST = 400
"""Identifiers in a picture; more could not be told apart."""
_RADIUS = 15
_STEP = 150
"""Distance between neighbours, px."""
_ROOM = 58
"""Distance at which two identifiers do not cover each other, px."""
_MARGIN = 90
_LEGEND = 34
_FONT = "font-family='Helvetica, Arial, sans-serif'"


def svg(graph: GraphAnswer) -> str:
    """The picture: colours by namespace, a ring around the founding identifier, dashes where force alone holds.

    Raises Problem `region_too_large` beyond MOST identifiers.
    """
    if len(graph.nodes) > MOST:
        raise Problem(
            "region_too_large", f"A picture holds {MOST} identifiers, the profile {len(graph.nodes)}."
        )
    places = _places(graph)
    width = max(max((x for x, _ in places.values()), default=0) + _MARGIN, 420)
    height = max((y for _, y in places.values()), default=0) + _MARGIN
    names = sorted({node.namespace for node in graph.nodes})
    colour = {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(names)}
    rows = -(-len(names) // 4)
    bottom = height + rows * 24 + 12
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {bottom:.0f}' width='{width:.0f}' "
        f"height='{bottom:.0f}' role='img' aria-label='Profile {graph.profile_id}'>",
        "<rect width='100%' height='100%' fill='#fffdf8'/>",
        f"<text x='16' y='24' {_FONT} font-size='13' fill='#444'>Profile {graph.profile_id[:12]}…, "
        f"{len(graph.nodes)} identifiers, as of {graph.as_of}</text>",
    ]
    for link in graph.links:
        (x1, y1), (x2, y2) = places[link.a.identifier_id], places[link.b.identifier_id]
        dash = " stroke-dasharray='6 5'" if link.first_day is None else ""
        said = f"first {link.first_day}, last {link.last_day}" if link.first_day else "force-link only"
        parts.append(
            f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='#c9a227' stroke-width='2'{dash}>"
            f"<title>{said}</title></line>"
        )
    for node in graph.nodes:
        parts.append(_node(node, *places[node.identifier_id], colour[node.namespace]))
    for n, name in enumerate(names):
        x, y = 20 + (n % 4) * (width - 40) / 4, height + 10 + (n // 4) * 24
        parts.append(f"<circle cx='{x + 6:.1f}' cy='{y:.1f}' r='6' fill='{colour[name]}'/>")
        parts.append(
            f"<text x='{x + 18:.1f}' y='{y + 4:.1f}' {_FONT} font-size='12' fill='#444'>{escape(name)}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _node(node: Node, x: float, y: float, colour: str) -> str:
    ring = f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{_RADIUS + 5}' fill='none' stroke='#222' stroke-width='2'/>"
    return (
        f"<g><title>{escape(node.namespace)} {node.identifier_id}, first seen {node.first_day}</title>"
        f"{ring if node.is_founding else ''}"
        f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{_RADIUS}' fill='{colour}'/>"
        f"<text x='{x:.1f}' y='{y + _RADIUS + 19:.1f}' text-anchor='middle' {_FONT} font-size='12' fill='#222' "
        f"stroke='#fffdf8' stroke-width='4' paint-order='stroke'>{escape(node.value)}</text></g>"
    )


def _places(graph: GraphAnswer) -> dict[str, tuple[float, float]]:
    """Where each identifier stands, px: springs, started from a circle in one order; far enough for labels."""
    drawn = nx.Graph()
    drawn.add_nodes_from(node.identifier_id for node in graph.nodes)
    drawn.add_edges_from(sorted((link.a.identifier_id, link.b.identifier_id) for link in graph.links))
    start = nx.circular_layout(drawn)
    found = nx.spring_layout(drawn, pos=start, k=2 / math.sqrt(len(drawn)), iterations=300, seed=7)
    scale = _scale(drawn, found)
    left = min(x for x, _ in found.values())
    top = min(y for _, y in found.values())
    return {
        i: (_MARGIN + (x - left) * scale, _LEGEND + _MARGIN - 30 + (y - top) * scale)
        for i, (x, y) in found.items()
    }


def _scale(drawn: nx.Graph, found: dict[str, tuple[float, float]]) -> float:
    """px per unit: a step apart along links, and nobody on another's label, unless that takes twice the room."""
    lengths = sorted(math.dist(found[a], found[b]) for a, b in drawn.edges)
    if not lengths:
        return 1.0
    scale = _STEP / max(lengths[len(lengths) // 2], 0.01)
    closest = min(math.dist(found[a], found[b]) for a, b in combinations(found, 2))
    return min(max(scale, _ROOM / max(closest, 0.001)), 2 * scale)
