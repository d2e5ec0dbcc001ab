"""What people do on one occasion: a visit is a list of steps, each makes one Segment event at its time.

Invariant: a step is made from the person as they are at that time, and all randomness comes from the world.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from kintsugi.demo_data import vocabulary as words
from kintsugi.demo_data.clock import Clock
from kintsugi.demo_data.people import Device, Person, World

Event = dict[str, Any]
Step = tuple[int, Callable[[int], Event]]
"""When (ms since the start) and what makes the event from its time."""
Visit = list[Step]
MINUTE = 60_000


class Visits:
    """Every kind of visit that can be made in a world, by its clock."""

    def __init__(self, world: World, clock: Clock) -> None:
        self.world = world
        self.rng = world.rng
        self._pick = world.pick
        self._clock = clock

    # ---- events

    def event(self, kind: str, at: int, context: words.Fields) -> Event:
        """The fields that every event has."""
        world = self.world
        return {"type": kind, "messageId": world.uuid(), "timestamp": self._clock.iso(at), "context": context}

    def web(self, kind: str, at: int, person: Person | None, device: Device) -> Event:
        """An event of the browser SDK: the device, and the user id where its user has logged in."""
        context = {"library": words.WEB_LIBRARY, "userAgent": device.agent, "locale": "zh-CN"}
        event = self.event(kind, at, context)
        event["anonymousId"] = device.anonymous_id
        if person and device.anonymous_id in person.logged_in:
            event["userId"] = person.user_id
        return event

    def page(
        self,
        person: Person | None,
        device: Device,
        page: words.Fields,
        campaign: words.Fields | None,
        ids: list[words.Fields] | None,
        at: int,
    ) -> Event:
        """A page view, inside WeChat with the external ids that its browser knows."""
        event = self.web("page", at, person, device)
        event["name"] = page["title"]
        event["properties"] = page
        context = event["context"]
        context["page"] = page
        if campaign:
            context["campaign"] = campaign
        if ids:
            context["externalIds"] = ids
        return event

    def server(self, name: str, ids: list[words.Fields], properties: words.Fields, at: int) -> Event:
        """A track event that a server sends, known by external ids only."""
        event = self.event("track", at, {"library": words.SERVER_LIBRARY, "externalIds": ids})
        event["event"] = name
        event["properties"] = properties
        return event

    def browser_track(
        self,
        name: str,
        person: Person,
        device: Device,
        properties: words.Fields,
        ids: list[words.Fields],
        at: int,
    ) -> Event:
        """A track event of the browser SDK."""
        event = self.web("track", at, person, device)
        event["event"] = name
        event["properties"] = properties
        if ids:
            event["context"]["externalIds"] = ids
        return event

    def identify(self, person: Person, device: Device, traits: words.Fields, at: int) -> Event:
        """What a form tells of its user."""
        event = self.web("identify", at, person, device)
        event["traits"] = traits
        return event

    def log_in(self, person: Person, device: Device, user_id: str, at: int) -> Event:
        """A log-in; from now on the device sends the user id."""
        person.logged_in.add(device.anonymous_id)
        event = self.web("identify", at, person, device)
        event["userId"] = user_id
        event["traits"] = self.about(person) | {"email": person.mail_spelling}
        return event

    def group(self, person: Person, device: Device, at: int) -> Event:
        """The company that the person works for."""
        company = person.company
        event = self.web("group", at, person, device)
        event["groupId"] = company["id"]
        event["traits"] = {"name": company["name"], "industry": company["industry"]}
        return event

    # ---- what people show

    @staticmethod
    def external(namespace: str, value: str, scope: str = "") -> words.Fields:
        """One entry of context.externalIds."""
        entry = {"id": value, "type": namespace, "collection": "users", "encoding": "none"}
        if scope:
            entry["scope"] = scope
        return entry

    @staticmethod
    def about(person: Person) -> words.Fields:
        """Traits that a form asks for."""
        return {
            "name": person.name,
            "company": person.company["name"],
            "title": person.title,
            "city": person.city,
        }

    def spelled_phone(self, person: Person) -> str:
        """Their phone in one of its spellings."""
        return self._pick(words.phone_spellings(person.phone))

    def device(self, person: Person) -> Device:
        """The desktop mostly, else the mobile browser."""
        return person.devices[self.rng.random() < 0.35]

    def wechat_ids(self, person: Person, account: str) -> list[words.Fields]:
        """OpenID in the account, and the UnionID where the account is bound to the open platform."""
        ids = [self.external("wechat_openid", person.open_id(self.world, account), account)]
        if person.union_id and account != words.SUBSCRIPTION_ACCOUNT:
            ids.append(self.external("wechat_unionid", person.union_id))
        return ids

    # ---- visits

    def browse(self, person: Person, at: int) -> Visit:
        """One to nine pages on the web site."""
        count = 1 + int(9 * self.rng.random() * self.rng.random())
        return self._pages(person, self.device(person), at, count)

    def _pages(self, person: Person | None, device: Device, at: int, count: int, gap: int = MINUTE) -> Visit:
        rng = self.rng
        if rng.random() < 0.002:  # a page whose tag was built in wrongly
            device = device._replace(anonymous_id=self._pick(words.PLACEHOLDERS["anonymous_id"]))
        campaign = self._pick(words.CAMPAIGNS)
        steps: Visit = []
        for _ in range(count):
            steps.append((at, partial(self.page, person, device, self._pick(words.PAGES), campaign, None)))
            at += int(gap * (0.2 + 2 * rng.random()))
            campaign = None
        return steps

    def robot(self, at: int) -> Visit:
        """A crawler reads ten to forty pages within minutes."""
        return self._pages(None, self.world.robot_device(), at, 10 + self.rng.randrange(31), gap=3000)

    def form(self, person: Person, at: int) -> Visit:
        """A form with phone, often e-mail; some type what is no phone at all."""
        return self._fill_form(person, self.device(person), at)

    def _fill_form(self, person: Person, device: Device, at: int) -> Visit:
        rng = self.rng
        phone, traits = self.spelled_phone(person), self.about(person)
        if rng.random() < 0.03:
            phone = self._pick(words.PLACEHOLDERS["phone"])
        traits["phone"] = phone
        if (luck := rng.random()) < 0.4:
            traits["email"] = person.mail_spelling if luck > 0.012 else words.PLACEHOLDERS["email"][0]
        submitted = {"form": self._pick(words.FORMS), "url": words.FORM_PAGE["url"]}
        ids = [self.external("phone", phone)]
        return [
            (at, partial(self.page, person, device, words.FORM_PAGE, None, None)),
            (at + MINUTE, partial(self.identify, person, device, traits)),
            (at + MINUTE + 40, partial(self.browser_track, "Form Submitted", person, device, submitted, ids)),
        ]

    def download(self, person: Person, at: int) -> Visit:
        """Reads a page, then downloads; half leave their e-mail for it."""
        rng = self.rng
        device = self.device(person)
        steps = self._pages(person, device, at, 1)
        ids = [self.external("email", person.mail_spelling)] if rng.random() < 0.5 else []
        title = {"title": self._pick(words.DOWNLOADS)}
        make = partial(self.browser_track, "Content Downloaded", person, device, title, ids)
        return [*steps, (at + 2 * MINUTE, make)]

    def webinar(self, person: Person, at: int) -> Visit:
        """Joins a live stream with an e-mail, some with the phone too; minutes are known when it ends."""
        rng = self.rng
        minutes = 1 + int(90 * rng.random())
        ids = [self.external("email", person.mail_spelling)]
        if rng.random() < 0.5:
            ids.append(self.external("phone", self.spelled_phone(person)))
        title, company = self._pick(words.WEBINARS), person.company["name"]
        properties = {"title": title, "minutes": minutes, "company": company}
        return [(at + minutes * MINUTE, partial(self.server, "Webinar Joined", ids, properties))]

    def follow(self, person: Person, at: int) -> Visit:
        """Scans a code and follows an official account."""
        rng = self.rng
        account = words.SERVICE_ACCOUNT if rng.random() < 0.7 else words.SUBSCRIPTION_ACCOUNT
        ids = self.wechat_ids(person, account)
        scene = {"scene": self._pick(words.SCENES), "appid": account, "employee": self._pick(words.EMPLOYEES)}
        return [
            (at, partial(self.server, "QR Scanned", ids, scene)),
            (at + 5000, partial(self.server, "WeChat Followed", ids, scene)),
        ]

    def unfollow(self, person: Person, at: int) -> Visit:
        """Leaves an account they followed; who never followed reads a page."""
        if not person.open_ids:
            return self.wechat_browse(person, at)
        account = next(iter(person.open_ids))
        ids = [self.external("wechat_openid", person.open_ids[account], account)]
        return [(at, partial(self.server, "WeChat Unfollowed", ids, {"appid": account}))]

    def wechat_browse(self, person: Person, at: int) -> Visit:
        """One to four pages inside WeChat, whose browser knows the OpenID."""
        rng = self.rng
        if len(person.devices) < 3:
            person.devices.append(self.world.new_device(words.WECHAT_AGENTS))
        device = person.devices[2]
        account = words.MINI_PROGRAM if rng.random() < 0.3 else words.SERVICE_ACCOUNT
        ids = self.wechat_ids(person, account)
        steps: Visit = []
        for _ in range(1 + int(4 * rng.random() * rng.random())):
            steps.append((at, partial(self.page, person, device, self._pick(words.WECHAT_PAGES), None, ids)))
            at += MINUTE
        return steps

    def wechat_form(self, person: Person, at: int) -> Visit:
        """Opens a form inside WeChat."""
        steps = self.wechat_browse(person, at)
        return [*steps, *self._fill_form(person, person.devices[2], steps[-1][0] + MINUTE)]

    def check_in(self, person: Person, at: int) -> Visit:
        """Is registered at a conference by phone, half by scanning with WeChat as well."""
        rng = self.rng
        ids = [self.external("phone", self.spelled_phone(person))]
        if rng.random() < 0.5:
            ids += self.wechat_ids(person, words.SERVICE_ACCOUNT)
        place = {"place": f"expo-{person.city}", "kind": "conference"}
        return [(at, partial(self.server, "Checked In", ids, place))]

    def shop(self, person: Person, at: int) -> Visit:
        """Scans in a shop, whose staff enter the shop's own number; few shops are busy, many are not."""
        u = self.rng.random()
        shop = int(len(self.world.shop_phones) * u * u)
        ids = [self.external("phone", self.world.shop_phones[shop])]
        ids += self.wechat_ids(person, words.SERVICE_ACCOUNT)
        return [(at, partial(self.server, "Checked In", ids, {"place": f"shop-{shop:02d}", "kind": "shop"}))]

    def kiosk(self, person: Person, at: int) -> Visit:
        """Looks at products on an exhibition's tablet, a third leave their phone there."""
        kiosk = self.world.kiosk(at)
        if self.rng.random() < 0.35:
            return self._fill_form(person, kiosk, at)
        return [
            (at + i * MINUTE, partial(self.page, person, kiosk, words.KIOSK_PAGE, None, None))
            for i in range(2)
        ]

    def wecom(self, person: Person, at: int) -> Visit:
        """An employee becomes their WeCom contact and owner; a third of the employees note the phone."""
        rng = self.rng
        person.wecom_id = person.wecom_id or self.world.opaque("wm")
        ids = [self.external("wecom_external_userid", person.wecom_id, words.CORP)]
        if person.union_id:
            ids.append(self.external("wechat_unionid", person.union_id))
        if rng.random() < 0.35:
            ids.append(self.external("phone", person.phone))
        employee = self._pick(words.EMPLOYEES)
        properties = {"employee": employee, "corp": words.CORP, "scene": f"card-{employee}"}
        return [(at, partial(self.server, "WeCom Contact Added", ids, properties))]

    def login(self, person: Person, at: int) -> Visit:
        """Logs in to the customer portal and reads on; a few once opened a second account."""
        rng = self.rng
        device = self.device(person)
        luck = rng.random()
        user_id = person.user_id
        if luck < 0.02:
            user_id = self.world.second_account(person)
        elif luck > 0.995:
            user_id = self._pick(words.PLACEHOLDERS["user_id"])
        steps: Visit = [(at, partial(self.log_in, person, device, user_id))]
        if rng.random() < 0.5:
            steps.append((at + 300, partial(self.group, person, device)))
        return steps + self._pages(person, device, at + MINUTE, 1 + rng.randrange(3))
