"""The resolver under any sequence of calls that hypothesis can think of, checked after each one."""

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from identity.evidence import Override
from identity.incremental import Changes, MemoryState, Resolver
from tests.identity_worlds import World, make_override, make_world


class ResolverMachine(RuleBasedStateMachine):
    """Events of any day, overrides, repetitions and passing days; `check` compares with the pure function."""

    world: World
    resolver: Resolver
    numbers = st.integers(0, 11)

    @initialize(random=st.randoms(use_true_random=True))
    def start(self, random: Random) -> None:
        self.world = make_world(random, 0)
        self.world.overrides.clear()
        self.resolver = Resolver(MemoryState(), self.world.rules, 5, check=True)

    @rule(which=st.sets(numbers, min_size=1, max_size=3), ago=st.integers(-2, 6))
    def meet(self, which: set[int], ago: int) -> None:
        known = sorted(self.world.kinds)
        identifiers = tuple({known[n % len(known)] for n in which})
        self.tell((self.resolver.date - ago, identifiers))

    @rule(which=st.integers(0, 40))
    def repeat(self, which: int) -> None:
        if self.world.events:
            event = self.world.events[which % len(self.world.events)]
            assert event[0] > self.resolver.date or self.tell(event) == Changes()

    @rule(random=st.randoms(use_true_random=True))
    def say(self, random: Random) -> None:
        override = make_override(random, self.world.kinds, f"o{len(self.world.overrides)}")
        self.add_override(override)

    @rule(days=st.integers(1, 4))
    def advance(self, days: int) -> None:
        self.resolver.advance(self.resolver.date + days)

    @rule()
    def the_oracle_agrees(self) -> None:
        truth = self.world.truth(self.resolver.date)
        for identifier, profile in truth.profile_of.items():
            assert self.resolver.current(identifier).profile_id == profile

    def tell(self, event: tuple[int, tuple[str, ...]]) -> Changes:
        self.world.events.append(event)
        return self.resolver.add(self.world.sightings(*event), self.world.links(*event))

    def add_override(self, override: Override) -> None:
        self.world.overrides.append(override)
        self.resolver.add(overrides=[override])


TestResolver = ResolverMachine.TestCase
TestResolver.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
