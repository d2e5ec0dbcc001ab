"""Promises of workspace.yaml: defaults that work, faults with their place, one canonical form."""

from typing import Any

import pytest

from schemas.errors import Problem
from schemas.workspace import BUILT_IN, SENSITIVE, NamespaceSpec, Workspace, parse_workspace

FULL = """
time_zone: Europe/Berlin
region: DE
namespaces:
  crm_id: {form: exact, pattern: "C\\\\d+", max_length: 20}
  email:
  wecom_external_userid: {scope: corp}
  shop_card: {form: lower, scope: shop}
channels:
  - {match: {campaign.source: baidu}, channel: sem}
  - {match: {properties.scene: "expo-*", campaign.medium: qr}, channel: offline, owner: 张三}
sensitive: [licence_plate]
"""


def test_an_empty_file_is_a_workspace_with_the_built_in_namespaces() -> None:
    for text in ("", "# nothing\n", "{}"):
        workspace = parse_workspace("demo", text)
        assert (workspace.time_zone, workspace.region) == ("Asia/Shanghai", "CN")
        assert workspace.namespaces == BUILT_IN
        assert workspace.sensitive == SENSITIVE


def test_a_file_extends_and_changes_the_built_in() -> None:
    workspace = parse_workspace("demo", FULL)
    assert workspace.namespaces["crm_id"] == NamespaceSpec("crm_id", pattern="C\\d+", max_length=20)
    assert workspace.namespaces["email"] == BUILT_IN["email"]
    assert workspace.namespaces["shop_card"].scope == "shop"
    assert workspace.channels[1].match == (("campaign.medium", "qr"), ("properties.scene", "expo-*"))
    assert workspace.sensitive == SENSITIVE | {"licence_plate"}


def test_the_canonical_form_is_ascii_and_comes_back() -> None:
    workspace = parse_workspace("demo", FULL)
    text = workspace.to_json()
    assert text.isascii()
    assert Workspace.from_json("demo", text) == workspace
    reordered = (
        "namespaces:\n  shop_card: {scope: shop, form: lower}\n"
        + FULL.replace("  shop_card: {form: lower, scope: shop}\n", "").replace("namespaces:\n", "").lstrip()
    )
    lines = reordered.splitlines(keepends=True)
    moved = lines[2:4] + lines[:2] + lines[4:]
    assert parse_workspace("demo", "".join(moved)).to_json() == text


@pytest.mark.parametrize(
    ("text", "pointer", "said"),
    [
        ("time_zon: UTC", "1:1", "did you mean time_zone"),
        ("time_zone: Asia/Shanghi", "1:12", "no time zone"),
        ("time_zone: ../../etc/passwd", "1:12", "no time zone"),
        ("region: china", "1:9", "country"),
        ("namespaces:\n  crm_id: {form: exakt}", "2:18", "did you mean exact"),
        ("namespaces:\n  crm_id: {from: exact}", "2:12", "did you mean form"),
        ("namespaces:\n  CRM: {}", "2:3", "no namespace"),
        ("namespaces: [phone]", "1:13", "keys and values"),
        ("namespaces: {a: {pattern: '('}}", "1:27", "regular expression"),
        ("namespaces: {a: {max_length: many}}", "1:30", "number"),
        ("channels: {}", "1:11", "list"),
        ("channels: [{channel: sem}]", "1:12", "needs a match"),
        ("channels: [{match: {utm_source: x}, channel: sem}]", "1:21", "campaign.NAME"),
        ("channels: [{match: {campaign.source: x}}]", "1:12", "gives a channel"),
        ("region: CN\nregion: DE", "2:1", "twice"),
        ("a: [", "1:5", "not YAML"),
        ("a: \x00", "1:1", "not YAML"),
        ("- x", "1:1", "keys and values"),
    ],
)
def test_a_fault_is_told_with_line_and_column(text: Any, pointer: Any, said: Any) -> None:
    with pytest.raises(Problem) as caught:
        parse_workspace("demo", text)
    assert (caught.value.code, caught.value.pointer) == ("bad_rules", pointer)
    assert said in caught.value.detail


@pytest.mark.parametrize("name", ["", "Demo", "a b", "../x", "a/b", "-x"])
def test_a_workspace_name_is_fit_for_a_folder_and_a_label(name: Any) -> None:
    with pytest.raises(Problem):
        parse_workspace(name, "")
