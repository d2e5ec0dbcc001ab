"""Who and what exists in the demo's world: people with their identifiers, and the things that people share.

Invariant: identifiers of different people differ, except where the world shares one on purpose; each such
identifier is told to `World.causes` before its first event.
"""

import base64
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple, TypeVar

from kintsugi.demo_data import vocabulary as words
from kintsugi.demo_data.clock import DAY

T = TypeVar("T")


class Hard(NamedTuple):
    """An identifier that is hard to resolve, and why."""

    namespace: str
    scope: str
    value: str
    cause: str


class Device(NamedTuple):
    """A browser: its anonymous id outlives visits."""

    anonymous_id: str
    agent: str


class Person:
    """A contact: what they are called and every identifier that they might ever show."""

    __slots__ = (
        "city", "company", "devices", "email", "logged_in", "mail_spelling", "name", "number", "open_ids",
        "phone", "title", "union_id", "user_id", "wecom_id",
    )  # fmt: skip

    def __init__(self, world: "World", number: int) -> None:
        rng = world.rng
        surname, surname_latin = world.pick(words.SURNAMES)
        given, given_latin = world.pick(words.GIVEN_NAMES)
        self.number = number
        self.name = surname + given
        self.city = world.pick(words.CITIES)
        self.company = world.pick(words.COMPANIES)
        self.title = world.pick(words.TITLES)
        self.phone = world.new_phone(number)
        self.email = f"{given_latin}.{surname_latin}{number}@{self.company['domain']}"
        self.mail_spelling = self.email.title() if rng.random() < 0.05 else self.email
        self.user_id = f"u{world.salt}{number:07d}"
        self.union_id = world.opaque("o") if rng.random() < 0.6 else ""
        self.open_ids: dict[str, str] = {}
        self.wecom_id = ""
        self.devices = [world.new_device(words.DESKTOP_AGENTS), world.new_device(words.MOBILE_AGENTS)]
        self.logged_in: set[str] = set()

    def open_id(self, world: "World", account: str) -> str:
        """Their OpenID in an account, given out on first contact."""
        if account not in self.open_ids:
            self.open_ids[account] = world.opaque("o")
        return self.open_ids[account]


class World:
    """The shared source of randomness, and the things that people share.

    `causes` holds the hard identifiers made since it was last emptied. Pools keep at most 200.
    """

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)  # noqa: S311 - reproducible on purpose, nothing here is secret
        self.salt = f"{self.rng.getrandbits(16):04x}"
        self.causes: list[Hard] = []
        self.people = 0
        self._phone_offset = self.rng.randrange(10**8)
        self._given_up_phones: list[tuple[int, str]] = []  # heap
        self._office_computers: deque[Device] = deque(maxlen=200)
        self._kiosks: dict[int, Device] = {}
        self.shop_phones = tuple(self.new_phone(-1 - shop) for shop in range(40))
        self.causes += [Hard("phone", "", phone, words.SHOP_PHONE) for phone in self.shop_phones]

    def pick(self, options: Sequence[T]) -> T:
        """One of the options (three times as fast as `Random.choice`)."""
        return options[int(self.rng.random() * len(options))]

    def opaque(self, prefix: str) -> str:
        """An id as WeChat makes them: prefix and 27 characters of URL-safe base64."""
        return prefix + base64.urlsafe_b64encode(self.rng.getrandbits(168).to_bytes(21, "big"))[:27].decode()

    def uuid(self) -> str:
        """A random id in the form of a UUID."""
        h = f"{self.rng.getrandbits(128):032x}"
        return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"

    def new_phone(self, number: int) -> str:
        """A mobile number of eleven digits that no other `number` has: the last eight permute it."""
        return f"{self.pick(words.MOBILE_PREFIXES)}{(number * 48_271_987 + self._phone_offset) % 10**8:08d}"

    def new_device(self, agents: tuple[str, ...]) -> Device:
        """A browser that nobody used before."""
        return Device(self.uuid(), self.pick(agents))

    def new_person(self, now: int) -> Person:
        """Someone new; 3 % get a number that another person gave up before, 3 % sit at another's computer."""
        self.people += 1
        person = Person(self, self.people)
        luck = self.rng.random()
        if luck < 0.03 and self._given_up_phones and self._given_up_phones[0][0] < now:
            person.phone = heappop(self._given_up_phones)[1]
            self.causes.append(Hard("phone", "", person.phone, words.HANDED_ON_PHONE))
        elif luck > 0.97 and self._office_computers:
            person.devices[0] = computer = self._office_computers.popleft()
            self.causes.append(Hard("anonymous_id", "", computer.anonymous_id, words.SHARED_COMPUTER))
        return person

    def give_up_phone(self, person: Person, after: int) -> None:
        """Let the person's number go to somebody who comes after the given time."""
        if len(self._given_up_phones) < 200:
            heappush(self._given_up_phones, (after, person.phone))

    def share_computer(self, person: Person) -> None:
        """Let somebody who comes later use the person's computer."""
        self._office_computers.append(person.devices[0])

    def kiosk(self, now: int) -> Device:
        """One of the two tablets of this week's exhibition."""
        slot = now // (7 * DAY) * 2 + self.rng.getrandbits(1)
        if slot not in self._kiosks:
            self._kiosks[slot] = Device(self.uuid(), words.TABLET_AGENT)
            self.causes.append(Hard("anonymous_id", "", self._kiosks[slot].anonymous_id, words.SHARED_TABLET))
        return self._kiosks[slot]

    def second_account(self, person: Person) -> str:
        """Another user id of the same person, who forgot the first."""
        user_id = f"{person.user_id}b"
        self.causes.append(Hard("user_id", "", user_id, words.SECOND_ACCOUNT))
        return user_id

    def robot_device(self) -> Device:
        """The cookie of one visit of a crawler."""
        device = self.new_device(words.ROBOT_AGENTS)
        self.causes.append(Hard("anonymous_id", "", device.anonymous_id, words.ROBOT))
        return device
