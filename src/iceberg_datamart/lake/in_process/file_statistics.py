"""What a manifest tells of a Parquet file: counts and bounds, from the footer that was just written.

PyIceberg's own function (0.12) fails for years after 9999, and takes a row group without bounds, where texts
are longer than the 4 KiB that PyArrow keeps, for one without values: readers would then pass the file over.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

from pyiceberg import types as iceberg
from pyiceberg.io.pyarrow import MetricModeTypes, compute_statistics_plan, parquet_path_to_id_mapping
from pyiceberg.utils.truncate import truncate_upper_bound_binary_string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyiceberg.io.pyarrow import StatisticsCollector
    from pyiceberg.schema import Schema

# https://iceberg.apache.org/spec/#binary-single-value-serialization
_FORMATS: Mapping[type[iceberg.IcebergType], str] = {
    iceberg.BooleanType: "<?",
    iceberg.IntegerType: "<i",
    iceberg.DateType: "<i",
    iceberg.LongType: "<q",
    iceberg.TimeType: "<q",
    iceberg.TimestampType: "<q",
    iceberg.TimestamptzType: "<q",
    iceberg.FloatType: "<f",
    iceberg.DoubleType: "<d",
}
_LAST_CHARACTER, _SURROGATES = 0x10FFFF, range(0xD800, 0xE000)


def statistics_of(footer: Any, schema: Schema, properties: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a manifest's data file that PyArrow's footer of it tells."""
    plan = compute_statistics_plan(schema, dict(properties))
    sizes: Counter[int] = Counter()
    values: Counter[int] = Counter()
    nulls: Counter[int] = Counter()
    uncounted: set[int] = set()
    bounds: dict[int, _Bounds] = {}
    for field_id, column in _chunks(footer, schema):
        mode = plan[field_id].mode.type
        sizes[field_id] += column.total_compressed_size
        if mode == MetricModeTypes.NONE:
            continue
        values[field_id] += column.num_values
        if column.statistics is None or not column.statistics.has_null_count:
            uncounted.add(field_id)
        else:
            nulls[field_id] += column.statistics.null_count
        if mode != MetricModeTypes.COUNTS:
            bounds.setdefault(field_id, _Bounds(plan[field_id])).add(column)
    known = {field_id: found for field_id, found in bounds.items() if found.are_known}
    uppers = {field_id: found.upper() for field_id, found in known.items()}
    return {
        "record_count": footer.num_rows,
        "column_sizes": dict(sizes),
        "value_counts": dict(values),
        "null_value_counts": {key: nulls[key] for key in values if key not in uncounted},
        "nan_value_counts": {},
        "lower_bounds": {field_id: found.lower() for field_id, found in known.items()},
        "upper_bounds": {field_id: bound for field_id, bound in uppers.items() if bound is not None},
        "split_offsets": [_offset(footer.row_group(group)) for group in range(footer.num_row_groups)],
    }


def _chunks(footer: Any, schema: Schema) -> Iterator[tuple[int, Any]]:
    """Yield each column of each row group with its field id."""
    ids = parquet_path_to_id_mapping(schema)
    for group in range(footer.num_row_groups):
        row_group = footer.row_group(group)
        for position in range(footer.num_columns):
            column = row_group.column(position)
            yield ids[column.path_in_schema], column


def _offset(row_group: Any) -> int:
    """Return where a row group begins."""
    first = row_group.column(0)
    starts = [first.data_page_offset]
    if first.has_dictionary_page and first.dictionary_page_offset is not None:
        starts.append(first.dictionary_page_offset)
    return int(min(starts))


class _Bounds:
    """The least and greatest value of one column so far; unknown once a row group does not tell them."""

    def __init__(self, plan: StatisticsCollector) -> None:
        self._type, self._length = plan.iceberg_type, plan.mode.length
        self._least: Any = None
        self._greatest: Any = None
        self._is_told = True

    @property
    def are_known(self) -> bool:
        return self._is_told and self._least is not None

    def add(self, column: Any) -> None:
        found = column.statistics
        if found is not None and found.has_null_count and found.null_count == column.num_values:
            return
        read = _reading(self._type)
        if read is None or found is None or not found.has_min_max:
            self._is_told = False
            return
        low, high = read(found.min_raw), read(found.max_raw)
        self._least = low if self._least is None else min(low, self._least)
        self._greatest = high if self._greatest is None else max(high, self._greatest)

    def lower(self) -> bytes:
        if isinstance(self._type, iceberg.StringType):
            return str(self._least)[: self._length].encode()
        if isinstance(self._type, iceberg.BinaryType):
            return bytes(self._least[: self._length])
        return _serialized(self._type, self._least)

    def upper(self) -> bytes | None:
        if isinstance(self._type, iceberg.StringType):
            return _text_not_below(self._greatest, self._length)
        if isinstance(self._type, iceberg.BinaryType):
            return truncate_upper_bound_binary_string(self._greatest, self._length)
        return _serialized(self._type, self._greatest)


def _reading(kind: iceberg.IcebergType) -> Callable[[Any], Any] | None:
    """Return what makes a comparable value of a footer's; None for types without bounds."""
    if isinstance(kind, iceberg.StringType):
        return _decoded
    if isinstance(kind, iceberg.BinaryType):
        return bytes
    if isinstance(kind, iceberg.DecimalType):
        return _unscaled
    return _as_it_is if type(kind) in _FORMATS else None


def _decoded(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _unscaled(value: Any) -> int:
    """Return a decimal's digits as a number: Parquet keeps those in 4 or 8 bytes, or in big-endian ones."""
    return int.from_bytes(value, "big", signed=True) if isinstance(value, bytes) else int(value)


def _as_it_is(value: Any) -> Any:
    return value


def _serialized(kind: iceberg.IcebergType, value: Any) -> bytes:
    if isinstance(kind, iceberg.DecimalType):
        # The fewest bytes that hold the number and its sign.
        bits = (value if value >= 0 else ~value).bit_length()
        return int(value).to_bytes(bits // 8 + 1, "big", signed=True)
    return struct.pack(_FORMATS[type(kind)], value)


def _text_not_below(value: str, length: int | None) -> bytes | None:
    """Return a text of at most so many characters that is not less; None where there is none."""
    cut = value[:length]
    if cut == value:
        return value.encode()
    for position in reversed(range(len(cut))):
        following = ord(cut[position]) + 1
        if following in _SURROGATES:
            following = _SURROGATES.stop
        if following <= _LAST_CHARACTER:
            return (cut[:position] + chr(following)).encode()
    return None
