"""ClickHouse's types for the Arrow types that our tables are made of."""

from typing import Final

import pyarrow as pa

_PLAIN: Final = {
    pa.string(): "String",
    pa.large_string(): "String",
    pa.binary(): "String",
    pa.bool_(): "Bool",
    pa.int8(): "Int8",
    pa.int16(): "Int16",
    pa.int32(): "Int32",
    pa.int64(): "Int64",
    pa.uint8(): "UInt8",
    pa.uint16(): "UInt16",
    pa.uint32(): "UInt32",
    pa.uint64(): "UInt64",
    pa.float32(): "Float32",
    pa.float64(): "Float64",
    pa.date32(): "Date32",
    pa.timestamp("us", "UTC"): "DateTime64(6, 'UTC')",
}


def clickhouse_type(arrow: pa.DataType) -> str:
    """Type of a column that holds such values. Raises TypeError for types we do not use.

    >>> clickhouse_type(pa.map_(pa.string(), pa.list_(pa.int64())))
    'Map(String, Array(Int64))'
    """
    if arrow in _PLAIN:
        return _PLAIN[arrow]
    if pa.types.is_map(arrow):
        return f"Map({clickhouse_type(arrow.key_type)}, {clickhouse_type(arrow.item_type)})"
    if pa.types.is_list(arrow):
        return f"Array({clickhouse_type(arrow.value_type)})"
    if pa.types.is_struct(arrow):
        fields = (arrow.field(i) for i in range(arrow.num_fields))
        return "Tuple(" + ", ".join(f"`{field.name}` {clickhouse_type(field.type)}" for field in fields) + ")"
    raise TypeError(f"no column of ClickHouse is declared for Arrow's {arrow}")


def structure(table: pa.Table) -> str:
    """Columns of a table that is sent as external data; a plain column is Nullable where it holds a null.

    >>> structure(pa.table({"a": ["x"], "n": pa.array([1, None], pa.uint8())[:1]}))
    '`a` String, `n` UInt8'
    """
    return ", ".join(f"`{field.name}` {_column(field, table[field.name])}" for field in table.schema)


def _column(field: pa.Field, values: pa.ChunkedArray) -> str:
    column = clickhouse_type(field.type)
    return f"Nullable({column})" if field.type in _PLAIN and values.null_count else column
