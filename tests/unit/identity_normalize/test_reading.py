"""Promises of reading: which identifiers, traits and channel an event gives."""

from typing import Any

import msgspec
import pytest

from identity.normalize import (
    channel_of,
    identifier_problems,
    identifiers_of,
    raw_identifiers_of,
    traits_of,
)
from schemas.events import Event, admit
from schemas.workspace import Workspace, parse_workspace

WORKSPACE = parse_workspace("demo", "namespaces: {crm_id: {}, shop_card: {scope: shop}}")


def event_of(**fields: Any) -> Event:
    return msgspec.json.decode(admit({"type": "identify", "userId": "u1", **fields}).e, type=Event)


def found(workspace: Workspace = WORKSPACE, **fields: Any) -> list[str]:
    return [":".join(part for part in i if part) for i in identifiers_of(event_of(**fields), workspace)]


def test_identifiers_come_from_every_place_once_and_in_order() -> None:
    names = found(
        anonymousId=" a1 ",
        traits={"phone": "13900000001", "mobile": "13900000002", "email": "Anna@QQ.com"},
        context={
            "traits": {"phone": "+86 139 0000 0001", "email": "anna@qq.com"},
            "externalIds": [{"id": "C1", "type": "crm_id", "collection": "users", "encoding": "none"}],
            "externalId": [{"id": "wu1", "type": "wechat_unionid"}],
        },
    )
    assert names == [
        "anonymous_id:a1",
        "crm_id:C1",
        "email:anna@qq.com",
        "phone:+8613900000001",
        "phone:+8613900000002",
        "user_id:u1",
        "wechat_unionid:wu1",
    ]


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "o1", "type": "wechat_openid", "scope": "wx1"},
        {"id": "o1", "type": "wechat_openid", "appid": "wx1"},
        {"id": "o1", "type": "wechat_openid:wx1"},
    ],
)
def test_a_scope_may_be_given_in_three_ways(entry: Any) -> None:
    assert found(context={"externalIds": [entry]}) == ["user_id:u1", "wechat_openid:wx1:o1"]
    shop = {"id": 7, "type": "shop_card", "shop": 12}
    assert found(context={"externalIds": [shop]}) == ["shop_card:12:7", "user_id:u1"]


def test_the_same_openid_of_two_apps_is_two_identifiers() -> None:
    entries = [{"id": "o1", "type": f"wechat_openid:{app}"} for app in ("wx1", "wx2")]
    assert len(found(context={"externalIds": entries})) == 3


def test_undeclared_namespaces_and_missing_scopes_are_ignored_and_told() -> None:
    context = {
        "externalIds": [
            {"id": "x", "type": "ios.idfa"},
            {"id": "o1", "type": "wechat_openid"},
            {"id": "C1", "type": "crm_id"},
        ],
        "externalId": [{"id": "y", "type": "gaid"}],
    }
    event = event_of(context=context)
    assert found(context=context) == ["crm_id:C1", "user_id:u1"]
    assert identifier_problems(event, WORKSPACE) == [
        ("unknown_namespace", "/context/externalIds/0/type"),
        ("missing_scope", "/context/externalIds/1/type"),
        ("unknown_namespace", "/context/externalId/0/type"),
    ]
    assert identifier_problems(event_of(), WORKSPACE) == []
    for field in ("externalIds", "externalId"):
        alone = event_of(context={field: [{"id": "y", "type": "gaid"}]})
        assert identifier_problems(alone, WORKSPACE) == [("unknown_namespace", f"/context/{field}/0/type")]


def test_what_has_no_normal_form_is_no_identifier() -> None:
    assert found(traits={"phone": "ask me", "email": "none"}) == ["user_id:u1"]
    assert found(traits={"phone": None, "email": ""}) == ["user_id:u1"]


def test_an_alias_links_two_ids_but_none_to_itself() -> None:
    assert found(type="alias", previousId="a1") == ["anonymous_id:a1", "user_id:u1"]
    assert found(type="alias", previousId="u1") == ["user_id:u1"]
    assert found(type="track", event="e", previousId="a1") == ["user_id:u1"]


def test_a_group_gives_traits_of_the_company_and_no_identifier() -> None:
    fields: dict[str, Any] = {
        "type": "group",
        "groupId": "g1",
        "traits": {"name": "Acme", "phone": "13900000009"},
    }
    assert found(**fields) == ["user_id:u1"]
    assert traits_of(event_of(**fields)) == {
        "company_id": "g1",
        "company_name": "Acme",
        "company_phone": "13900000009",
    }


def test_traits_of_identify_win_over_those_of_the_context_and_null_unsets() -> None:
    context = {"traits": {"city": "Shanghai", "plan": "free"}}
    assert traits_of(event_of(traits={"city": None}, context=context)) == {"city": None, "plan": "free"}
    assert traits_of(event_of(type="page", traits={"x": 1}, context=context)) == context["traits"]
    assert traits_of(event_of(type="page")) == {}


def test_raw_identifiers_are_what_normalize_takes() -> None:
    raw = raw_identifiers_of(event_of(traits={"phone": "ask me"}), WORKSPACE)
    assert raw == [("user_id", "", "u1"), ("phone", "", "ask me")]


CHANNELS = parse_workspace(
    "demo",
    """
channels:
  - {match: {campaign.source: baidu}, channel: sem}
  - {match: {properties.scene: "expo-*"}, channel: offline, owner: Wang}
  - {match: {properties.qr_scene: "1*", campaign.medium: qr}, channel: poster}
  - {match: {properties.employee: E7}, owner: Li}
""",
)


@pytest.mark.parametrize(
    ("campaign", "properties", "expected"),
    [
        (None, {}, ("", "")),
        ({"source": "baidu", "medium": "cpc"}, {}, ("sem", "")),
        ({"source": "weibo", "medium": "cpc"}, {}, ("weibo/cpc", "")),
        ({"source": "weibo"}, {"employee": "E1"}, ("weibo", "E1")),
        ({"source": "baidu"}, {"scene": "expo-3"}, ("sem", "Wang")),
        (None, {"scene": "expo-3", "employee": "E7"}, ("offline", "Wang")),
        (None, {"scene": "Expo-3"}, ("", "")),
        ({"medium": "qr"}, {"qr_scene": 15}, ("poster", "")),
        (None, {"employee": "E7"}, ("", "Li")),
        ("baidu", {"scene": ["expo-1"], "employee": {}}, ("", "")),
    ],
)
def test_rules_give_channel_and_owner_the_campaign_stands_in(
    campaign: Any, properties: Any, expected: Any
) -> None:
    event = event_of(type="page", properties=properties, context={"campaign": campaign})
    assert channel_of(event, CHANNELS) == expected


def test_without_rules_campaign_and_employee_speak_for_themselves() -> None:
    event = event_of(context={"campaign": {"source": "baidu"}}, properties={"employee": "E7"})
    assert channel_of(event, WORKSPACE) == ("baidu", "E7")
    assert channel_of(event_of(), WORKSPACE) == ("", "")
