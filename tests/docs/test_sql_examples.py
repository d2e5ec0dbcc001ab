"""The example queries for analysts run as they stand, and find something in a store that holds some weeks."""

from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy

from kintsugi.settings import CHECKOUT
from tests.filled_store import Filled

QUERIES = sorted((CHECKOUT / "docs" / "sql").glob("*.sql"))


def test_there_are_ten() -> None:
    assert len(QUERIES) == 10
    assert all(query.read_text(encoding="utf-8").startswith("-- ") for query in QUERIES)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.stem)
def test_an_example_answers_its_question(filled: Filled, query: Path) -> None:
    text = query.read_text(encoding="utf-8")
    assert "kintsugi_store" not in text, "analysts read the public views"
    found = filled.store.query_arrow(text)
    assert found.num_rows > 0
    assert len(set(found.schema.names)) == found.num_columns


def test_clickhouse_connect_and_sqlalchemy_give_pandas_the_same_answer(filled: Filled) -> None:
    text = (CHECKOUT / "docs" / "sql" / "score_bands.sql").read_text(encoding="utf-8")
    settings = filled.store.settings
    address = settings.url.removeprefix("http://")
    engine = sqlalchemy.create_engine(f"clickhousedb://{settings.user}:{settings.token}@{address}/kintsugi")
    try:
        with engine.connect() as connection:
            by_sqlalchemy = pd.DataFrame(connection.execute(sqlalchemy.text(text)).mappings().all())
    finally:
        engine.dispose()
    by_arrow = filled.store.query_arrow(text).to_pandas()
    assert by_arrow.to_dict("list") == by_sqlalchemy.to_dict("list")
