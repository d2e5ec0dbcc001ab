"""The notebooks run from top to bottom, show pictures, and render to pages that need nothing from elsewhere."""

import re
from pathlib import Path

import pytest

from kintsugi import notebooks
from tests.filled_store import Filled

pytestmark = pytest.mark.filterwarnings("ignore")  # jupyter's own


@pytest.mark.parametrize("path", notebooks.names(), ids=lambda path: path.stem)
def test_a_notebook_runs_and_renders(filled: Filled, path: Path) -> None:
    done = notebooks.executed(path, filled.env)
    pictures = [
        out for cell in done.cells for out in cell.get("outputs", []) if "image/png" in out.get("data", {})
    ]
    assert pictures
    page = notebooks.html(done)
    assert page.count("<img ") == len(pictures)
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page


def test_there_are_three_and_none_holds_results() -> None:
    assert [path.stem for path in notebooks.names()] == ["best_leads", "messy_customer", "rule_change"]
    assert not list(notebooks.FOLDER.glob("*.ipynb"))
