"""The rules of the demo workspace: valid, and every rule of them can be earned."""

from pathlib import Path

from scoring.ruleset import parse_scoring

DEMO = Path(__file__).parents[3] / "workspaces" / "demo" / "scoring.yaml"
EVENTS = {
    "Page Viewed", "QR Scanned", "Webinar Joined", "Checked In", "Form Submitted", "Content Downloaded",
    "WeChat Followed", "WeChat Unfollowed", "WeCom Contact Added",
}  # fmt: skip


def test_the_demo_scores_every_event_that_the_demo_sends() -> None:
    rules = parse_scoring(DEMO.read_text())
    assert {rule.event for rule in rules.behaviour} == EVENTS
    assert rules.identity
    assert rules.inactivity
