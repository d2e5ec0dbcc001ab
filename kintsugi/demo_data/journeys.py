"""The generator: who comes when, what they do on each visit, and in which order their events arrive.

Invariant: a pure function of its arguments; what it holds in memory is bounded by `LIVE_PEOPLE`, not by the
number of events.
"""

from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from heapq import heappop, heappush
from itertools import accumulate
from typing import Any

from kintsugi.demo_data.clock import DAY, Clock
from kintsugi.demo_data.people import Hard, Person, World
from kintsugi.demo_data.visits import Event, Visit, Visits

LIVE_PEOPLE = 8_000
"""People under way at a time, at most; where events are denser than that allows, journeys get shorter."""
BATCH_SIZE = 1000

_EVENTS_PER_PERSON = 8
_JOURNEY_DAYS = 12
_HOUR = 3_600_000
_LATE, _DUPLICATE, _SWAPPED, _ROBOTS = 0.03, 0.02, 0.05, 0.002
_GAP_DAYS = (0, 0, 0, 1, 1, 2, 3, 5, 8, 14)

_VISIT_COUNTS = (1, 2, 3, 4, 5, 6, 8, 12, 20, 40)
_VISIT_COUNT_STEPS = tuple(accumulate((24, 22, 17, 12, 9, 6, 5, 3, 1.5, 0.5)))

_ActAs = Callable[[Visits, Person, int], Visit]
_PERSONAS: tuple[tuple[float, tuple[_ActAs, ...]], ...] = (
    # share in %, what they do (named twice: twice as often)
    (22, (Visits.browse, Visits.browse, Visits.browse, Visits.download)),
    (24, (Visits.browse, Visits.browse, Visits.form, Visits.download, Visits.webinar)),
    (14, (Visits.follow, Visits.wechat_browse, Visits.wechat_browse, Visits.unfollow)),
    (
        20,
        (
            Visits.follow,
            Visits.wechat_browse,
            Visits.wechat_form,
            Visits.check_in,
            Visits.wecom,
            Visits.webinar,
        ),
    ),
    (8, (Visits.login, Visits.browse, Visits.login, Visits.download, Visits.webinar)),
    (8, (Visits.kiosk, Visits.check_in, Visits.form, Visits.wecom)),
    (4, (Visits.shop, Visits.follow, Visits.wechat_browse, Visits.check_in)),
)
_PERSONA_STEPS = tuple(accumulate(share for share, _ in _PERSONAS))
_LEAVES_PHONE = frozenset({Visits.form, Visits.wechat_form, Visits.check_in})


@dataclass(slots=True)
class Batch:
    """Events in order of arrival, and what is true of them."""

    events: list[Event] = field(default_factory=list)
    """Segment-spec events. A duplicate is the same object and events share parts: do not change them."""
    people: list[int | None] = field(default_factory=list)
    """Who did each event; None for robots."""
    causes: list[Hard] = field(default_factory=list)
    """Identifiers made hard on purpose since the batch before; some may never be seen."""


def journeys(
    seed: int, events: int, start_day: date, days: int, batch_size: int = BATCH_SIZE
) -> Iterator[Batch]:
    """Exactly `events` events, roughly in order of time, over `days` days (of China) from `start_day`.

    About 3 % of the events arrive hours to days late, 2 % arrive twice, 5 % swap places with neighbours.
    Every batch but the last has `batch_size` events. The same arguments give the same events.
    """
    if events < 0 or days < 1 or batch_size < 1:
        raise ValueError("journeys needs events >= 0, days >= 1 and batch_size >= 1")
    world = World(seed)
    batch = Batch()
    for event, person in _arrivals(_Planner(world, events, start_day, days), events):
        batch.events.append(event)
        batch.people.append(person)
        if len(batch.events) == batch_size:
            yield _sealed(batch, world)
            batch = Batch()
    if batch.events:
        yield _sealed(batch, world)


def _sealed(batch: Batch, world: World) -> Batch:
    batch.causes, world.causes = world.causes, []
    return batch


def _arrivals(planner: "_Planner", events: int) -> Iterator[tuple[Event, int | None]]:
    """Events as they arrive, with who did each.

    The queue holds visits (become steps when their time comes), steps (become events) and events under way.
    """
    queue: list[tuple[int, int, int | None, Any]] = []
    serial = emitted = 0
    while emitted < events:
        while not queue or planner.arrival <= queue[0][0]:
            missing = events - emitted - planner.expected(len(queue))
            if queue and missing <= 0:
                break
            number, visits = planner.next_journey(missing)
            for at, visit in visits:
                serial += 1
                heappush(queue, (at, serial, number, visit))
        now, _, number, thing = heappop(queue)
        if not isinstance(thing, dict):
            thing = thing(now)
            if isinstance(thing, list):
                for at, step in planner.begun(thing):
                    serial += 1
                    heappush(queue, (at, serial, number, step))
                continue
            delay, again = planner.travel()
            if again:
                serial += 1
                heappush(queue, (now + again, serial, number, thing))
            if delay:
                serial += 1
                heappush(queue, (now + delay, serial, number, thing))
                continue
        emitted += 1
        yield thing, number


_Plan = list[tuple[int, Callable[[int], Visit]]]


class _Planner:
    """Decides who comes next and when, what they will do, and how each event travels."""

    def __init__(self, world: World, events: int, start_day: date, days: int) -> None:
        self._world = world
        self._rng = world.rng
        self._visits = Visits(world, Clock(start_day))
        self._end = days * DAY
        self._visits_waiting = 0
        # running means, by which arrivals are paced
        self._steps_per_visit = 2.0
        self._visits_per_person = 4.0
        per_day = max(events / days, 1)
        self._stretch = min(1.0, LIVE_PEOPLE * _EVENTS_PER_PERSON / (per_day * _JOURNEY_DAYS), days / 45)
        self._latest = int(min(3 * DAY, 20_000 / (_LATE * per_day) * DAY, self._end / 4))
        self.arrival = 0
        """When the next person comes."""

    def expected(self, queued: int) -> float:
        """Events that so many things in the queue will become."""
        return queued + self._visits_waiting * (self._steps_per_visit - 1)

    def next_journey(self, missing: float) -> tuple[int | None, _Plan]:
        """Who comes next, and all visits they will make up to the last day; sets the next arrival.

        `missing` events are still to be planned; arrivals are paced so that they run out on the last day.
        """
        at, rng = self.arrival, self._rng
        number: int | None = None
        visits: _Plan = [(at, self._visits.robot)]
        if rng.random() >= _ROBOTS:
            person = self._world.new_person(at)
            number, visits = person.number, self._plan(person, at)
        self._visits_waiting += len(visits)
        self._visits_per_person += (len(visits) - self._visits_per_person) / 200
        each = self._visits_per_person * self._steps_per_visit
        gap = (self._end - at) * each / max(missing, each)
        self.arrival = min(self._end - 1, at + int(gap * (0.5 + rng.random())))
        return number, visits

    def _plan(self, person: Person, at: int) -> _Plan:
        rng, world = self._rng, self._world
        persona = _PERSONAS[bisect(_PERSONA_STEPS, rng.random() * _PERSONA_STEPS[-1])][1]
        count = _VISIT_COUNTS[bisect(_VISIT_COUNT_STEPS, rng.random() * _VISIT_COUNT_STEPS[-1])]
        visits: _Plan = []
        leaves_phone = False
        while at < self._end and len(visits) < count:
            act = world.pick(persona) if visits or rng.random() < 0.5 else persona[0]
            leaves_phone = leaves_phone or act in _LEAVES_PHONE
            visits.append((at, partial(act, self._visits, person)))
            at += int((world.pick(_GAP_DAYS) + rng.random()) * DAY * self._stretch)
        luck = rng.random()
        if leaves_phone and luck < 0.1:
            world.give_up_phone(person, at)
        elif luck > 0.96:
            world.share_computer(person)
        return visits

    def begun(self, visit: Visit) -> Visit:
        """The steps of a visit that has begun, as far as the last day reaches."""
        self._visits_waiting -= 1
        self._steps_per_visit += (len(visit) - self._steps_per_visit) / 1000
        return [step for step in visit if step[0] < self._end]

    def travel(self) -> tuple[int, int]:
        """Delay in ms until an event made now arrives, and until a copy arrives; 0: at once, and no copy."""
        rng = self._rng
        luck = rng.random()
        if luck < _LATE:
            return _HOUR + int(self._latest * rng.random()), 0
        if luck < _LATE + _SWAPPED:
            return 1 + int(120_000 * rng.random()), 0
        if luck < _LATE + _SWAPPED + _DUPLICATE:
            return 0, 500 + int(2 * _HOUR * rng.random() * rng.random() * rng.random())
        return 0, 0
