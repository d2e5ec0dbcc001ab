"""The stories of the presets, through the whole job; and stories that go otherwise or cannot be told."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kintsugi import rules_test
from kintsugi.settings import CHECKOUT, Settings
from kintsugi.story import COLUMNS
from schemas.errors import Problem
from store.client import Store

STORIES = sorted(path.parent.name for path in (CHECKOUT / "workspaces").glob("*/story.yaml"))
STORY = """
people:
  lin: {wechat_unionid: union-lin}
  lin_phone: {phone: "138 2213 8001", "wechat_openid:wx1": o-lin}
  bo: {wechat_unionid: union-bo}
story:
  - {day: 2026-03-02, who: [lin], does: WeChat Followed}
  - {day: 2026-03-02, who: [bo, lin_phone], are: one}
  - {day: 2026-03-03, who: [lin, lin_phone], does: Form Submitted, is: {name: Lin}, campaign: {source: baidu}}
  - {day: 2026-03-03, who: [bo], does: Left}
  - {day: 2026-03-03, who: [lin, lin_phone], are: one}
  - {day: 2026-03-03, who: [lin_phone], stands: {behaviour_score: 40, last_channel: search, stage: mql}}
"""


def settings(home: Path) -> Settings:
    return replace(Settings.load({}), home=home)


@pytest.mark.parametrize("name", STORIES)
def test_a_story_comes_out_as_told(store: Store, tmp_path: Path, name: str) -> None:
    """Everything is told in the order of days; after each day everyone stands where the story says."""
    apart = settings(tmp_path)
    rules_test.new_keys(apart, name)
    expectations = list(rules_test.told(apart, name, store))
    assert [str(each) for each in expectations if not each.is_met] == []
    assert len(expectations) > 10


def test_there_are_stories_of_the_three_products() -> None:
    assert {"jingsocial", "zhiqu", "chenfeng"} <= set(STORIES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = tmp_path / "acme"
    shutil.copytree(CHECKOUT / "workspaces" / "jingsocial", copied)
    return copied


def test_a_story_that_goes_otherwise_says_who_when_and_what(tmp_path: Path, folder: Path) -> None:
    (folder / "story.yaml").write_text(STORY)
    lines: list[str] = []
    assert not rules_test.run(settings(tmp_path / "home"), folder, lines.append)
    assert lines == [
        "FAIL  2026-03-02  bo, lin_phone    are: expected one, got apart  (story.yaml:8:5)",
        "ok    2026-03-03  lin, lin_phone   are: one",
        "ok    2026-03-03  lin_phone        behaviour_score: 40",
        "ok    2026-03-03  lin_phone        last_channel: search",
        "FAIL  2026-03-03  lin_phone        stage: expected mql, got raw  (story.yaml:12:5)",
        "acme: 3 of 5 expectations met",
    ]
    assert not (tmp_path / "home").exists(), "nothing of the user's is touched"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("day: 2026-03-03", "day: tomorrow", "12:11: tomorrow is not a date"),
        ("does: Left", "dose: Left", "10:34: there is no key dose; did you mean does?"),
        ("[bo, lin_phone]", "[bo, lin_fone]", "lin_fone is not one of lin, lin_phone, bo; did you mean lin_phone?"),
        ("wechat_unionid: union-bo", "wechat_union: bo", "5:22: there is no namespace wechat_union; did you mean"),
        ('phone: "138 2213 8001"', "phone: soon", "4:22: soon can be no phone"),
        ('"wechat_openid:wx1": o-lin', "wechat_openid: o-lin", "4:54: write wechat_openid:appid: value"),
        ("does: Left", "status: won", "10:42: The rules have no stage won; they declare: raw, mql, sal"),
        ("does: Left", "does: Left, stands: {stage: mql}", "10:5: a line tells one of does, status"),
        ("stage: mql", "stages: mql", "there is no key stages; did you mean stage?"),
        ("are: one", "are: one, times: 2", "times stands with does alone"),
    ],
)  # fmt: skip
def test_a_story_that_cannot_be_told_says_where(
    tmp_path: Path, folder: Path, old: str, new: str, said: str
) -> None:
    before, after = STORY.rsplit(old, 1) if old != "are: one" else STORY.split(old, 1)
    (folder / "story.yaml").write_text(before + new + after)
    with pytest.raises(Problem) as refused:
        rules_test.run(settings(tmp_path / "home"), folder, print)
    assert f"{folder}/story.yaml:" in refused.value.detail
    assert said in refused.value.detail


def test_without_a_story_it_says_which_file_is_missing(tmp_path: Path, folder: Path) -> None:
    (folder / "story.yaml").unlink()
    with pytest.raises(Problem, match=r"story\.yaml is missing"):
        rules_test.run(settings(tmp_path / "home"), folder, print)


def test_what_a_story_may_expect_are_columns_of_profiles(store: Store) -> None:
    rows = store.query_rows(
        "SELECT name FROM system.columns WHERE database = 'kintsugi' AND table = 'profiles'"
    )
    assert set(COLUMNS) <= {name for (name,) in rows}
