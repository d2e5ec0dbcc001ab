"""Settings: read once, refused by name, all of them documented."""

from dataclasses import fields
from pathlib import Path

import pytest

from kintsugi.settings import CHECKOUT, SETTINGS, Settings
from schemas.errors import Problem


def test_every_setting_is_documented_and_has_a_field() -> None:
    named = [setting.name.removeprefix("KINTSUGI_").lower() for setting in SETTINGS]
    assert named == [field.name for field in fields(Settings)]
    assert all(setting.meaning.endswith(".") for setting in SETTINGS)


def test_defaults_hold_without_an_environment() -> None:
    settings = Settings.load({})
    assert settings.home == CHECKOUT / ".kintsugi"
    assert settings.config == CHECKOUT / "workspaces"
    assert (settings.log, settings.parallelism, settings.python_mode) == ("directory", 1, "thread")
    assert settings.has_embedded_store
    assert not settings.has_own_broker


def test_an_absolute_home_is_taken_as_it_is() -> None:
    assert Settings.load({"KINTSUGI_HOME": "/data/家 a"}).home == Path("/data/家 a")


@pytest.mark.parametrize(
    ("name", "value"),
    [("KINTSUGI_LOG", "files"), ("KINTSUGI_PARALLELISM", "0"), ("KINTSUGI_FLINK_PORT", "8x")],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(Problem, match=f"{name}={value}"):
        Settings.load({name: value})


def test_a_broker_of_our_own_runs_only_where_none_is_named() -> None:
    assert Settings.load({"KINTSUGI_LOG": "kafka"}).has_own_broker
    named = {"KINTSUGI_LOG": "kafka", "KINTSUGI_KAFKA_BOOTSTRAP": "broker:9092"}
    assert not Settings.load(named).has_own_broker
