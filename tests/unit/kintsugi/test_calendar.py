"""A `date` record is due when a workspace's day begins, in its own time zone."""

from datetime import UTC, datetime

from kintsugi.calendar import due_dates


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


def test_each_workspace_has_its_own_midnight() -> None:
    zones, told = {"cn": "Asia/Shanghai", "uk": "Europe/London"}, dict[str, str]()
    first = due_dates(zones, told, us("2026-11-20 15:59:59"))
    assert {(r.workspace, r.date) for r in first} == {("cn", "2026-11-20"), ("uk", "2026-11-20")}
    assert due_dates(zones, told, us("2026-11-20 15:59:59")) == []
    second = due_dates(zones, told, us("2026-11-20 16:00:00"))
    assert [(r.workspace, r.date) for r in second] == [("cn", "2026-11-21")]


def test_a_new_workspace_gets_its_date_at_once() -> None:
    told = {"cn": "2026-11-21"}
    due = due_dates({"cn": "Asia/Shanghai", "new": "UTC"}, told, us("2026-11-20 16:00:00"))
    assert [(r.workspace, r.date) for r in due] == [("new", "2026-11-20")]
