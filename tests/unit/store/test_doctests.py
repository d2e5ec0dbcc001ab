"""Examples in the docstrings of store/ are true."""

import doctest
import importlib

import pytest

MODULES = [
    "arrow_types",
    "keyring",
    "migrate",
    "overrides",
    "endpoint.encoding",
    "endpoint.faults",
    "endpoint.request",
]


@pytest.mark.parametrize("name", [*MODULES, "endpoint.statement"])
def test_examples_are_true(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"store.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
