"""How the embedded engine lays rows on the disk."""

from schemas import arrow
from store.client import Store


def test_what_an_insert_writes_is_one_file(store: Store) -> None:
    """Each file is an fsync, and a round of the job is a dozen inserts."""
    store.insert_arrow("kintsugi_store.progress", arrow.table("progress", [("parts", "s-1", 1)]))
    found = store.query_rows(
        "SELECT DISTINCT part_storage_type FROM system.parts WHERE database = 'kintsugi_store' AND level = 0"
    )
    assert found == [("Packed",)]
    stored = store.query_rows("SELECT segment FROM kintsugi_store.progress WHERE workspace = 'parts'")
    assert stored == [("s-1",)]
