"""Columns of parquet files as arrays, and arrays as columns: vectors are lists of fixed size, scalars plain numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.optional import need
from robolearn.datasets.layout import StoreError

_MAX_ROWS = 1 << 28
_MAX_BYTES = 1 << 35


def _pyarrow() -> Any:
    return need("pyarrow", "the LeRobot format")


def _parquet() -> Any:
    _pyarrow()
    return need("pyarrow.parquet", "the LeRobot format")


class Table:
    """A parquet file, read a few rows at a time.

    Raises:
        StoreError: no parquet file, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: tuple[tuple[Any, ...], Any] = ((), None)  # the last row groups read: several episodes can share one
        with self._open() as file:
            footer = file.metadata
            self.rows = int(footer.num_rows)
            self.schema: Any = file.schema_arrow
            self._sizes = [int(footer.row_group(group).num_rows) for group in range(footer.num_row_groups)]
            claimed = sum(int(footer.row_group(group).total_byte_size) for group in range(footer.num_row_groups))
        if len(set(self.names)) < len(self.names):
            raise StoreError(f"{path} has two columns of one name among {', '.join(self.names)}; remove one")
        if not 0 <= self.rows <= _MAX_ROWS or min(self._sizes, default=0) < 0 or sum(self._sizes) != self.rows or claimed > _MAX_BYTES:
            raise StoreError(f"{path} claims {self.rows} rows of {claimed} bytes in all; no such file is that big")

    def _open(self) -> Any:
        parquet = _parquet()
        try:
            return parquet.ParquetFile(self.path, page_checksum_verification=True)
        except Exception as error:  # pyarrow raises many kinds for damaged bytes
            raise self._damage(error) from error

    def _damage(self, error: Exception) -> StoreError:
        return StoreError(f"{self.path} is damaged or no parquet file: {' '.join(str(error).split())[:300]}; fetch it again")

    @property
    def names(self) -> list[str]:
        """The columns."""
        return [str(name) for name in self.schema.names]

    def require(self, names: Sequence[str], remedy: str) -> None:
        """Raise ``StoreError`` unless all columns are there."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise StoreError(f"{self.path} lacks the column {missing[0]!r}; it has {', '.join(self.names)}; {remedy}")

    def read(self, names: Sequence[str], start: int = 0, stop: int | None = None) -> Any:
        """Rows ``start`` to ``stop`` (all unless given) of some columns, as an Arrow table."""
        stop = self.rows if stop is None else stop
        ends = np.cumsum([0, *self._sizes])
        groups = [group for group in range(len(self._sizes)) if ends[group] < stop and ends[group + 1] > start]
        key = (tuple(names), tuple(groups))
        if self._held[0] != key:
            self._held = ((), None)
            self._held = (key, self._read_groups(groups, list(names)))
        first = int(ends[groups[0]]) if groups else 0
        return self._held[1].slice(start - first, stop - start)

    def _read_groups(self, groups: list[int], names: list[str]) -> Any:
        with self._open() as file:
            try:
                table = file.read_row_groups(groups, columns=names, use_threads=False)
                table.validate(full=True)
            except Exception as error:
                raise self._damage(error) from error
        if table.num_rows != sum(self._sizes[group] for group in groups):
            raise StoreError(f"{self.path} holds other rows than it says; fetch it again")
        return table

    def array(self, rows: Any, name: str, shape: Sequence[int] | None = None) -> NDArray[Any]:
        """A column of :meth:`read`'s result as numbers ``(T, *shape)``, in the type they are stored in.

        Raises:
            StoreError: no numbers, gaps, or another size than ``shape``.
        """
        try:
            column = rows.column(name).combine_chunks()
            values, sizes = _numbers(column)
        except StoreError as error:
            raise StoreError(f"{self.path}: column {name!r} {error}") from error
        except Exception as error:
            raise self._damage(error) from error
        if shape is None:
            shape = sizes
        if math.prod(sizes) != math.prod(shape):
            raise StoreError(f"{self.path}: column {name!r} has {list(sizes)} numbers a row, meta/info.json says {list(shape)}")
        return values.reshape(len(column), *shape)

    def whole_numbers(self, rows: Any, name: str) -> NDArray[np.int64]:
        """A column of :meth:`read`'s result that counts or points, ``(T,)``; raises as :meth:`array`."""
        numbers = self.array(rows, name, ())
        if numbers.dtype.kind not in "iu":
            raise StoreError(f"{self.path}: column {name!r} holds {numbers.dtype}, expected whole numbers")
        return numbers.astype(np.int64)

    def texts(self, rows: Any, name: str) -> list[str | None]:
        """A column of texts.

        Raises:
            StoreError: it holds something else.
        """
        values = self.values(rows, name)
        if not all(value is None or isinstance(value, str) for value in values):
            raise StoreError(f"{self.path}: column {name!r} holds {rows.schema.field(name).type}, expected text")
        return values

    def values(self, rows: Any, name: str) -> list[Any]:
        """A column of :meth:`read`'s result as Python values: texts, lists, encoded images."""
        try:
            return list(rows.column(name).to_pylist())
        except Exception as error:
            raise self._damage(error) from error


def is_text(schema: Any, name: str) -> bool:
    """Whether a column holds texts."""
    pa = _pyarrow()
    return bool(pa.types.is_string(schema.field(name).type) or pa.types.is_large_string(schema.field(name).type))


def number_type(schema: Any, name: str) -> np.dtype[Any] | None:
    """Type of the numbers in a column, however nested; None where it holds something else."""
    pa = _pyarrow()
    kind = schema.field(name).type
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    floats = {"halffloat": "float16", "float": "float32", "double": "float64"}  # Arrow's names; its own way to numpy's needs pandas
    return np.dtype(floats.get(str(kind), str(kind)))


def _numbers(column: Any) -> tuple[NDArray[Any], tuple[int, ...]]:
    """All numbers of a column end to end, and how many each row has along each axis."""
    pa = _pyarrow()
    compute = need("pyarrow.compute", "the LeRobot format")
    rows, sizes = len(column), []
    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type):
        if column.null_count:
            raise StoreError(f"has {column.null_count} empty rows")
        lengths = compute.unique(compute.list_value_length(column)).to_pylist()
        if len(lengths) > 1:
            raise StoreError(f"has rows of {min(lengths)} and of {max(lengths)} numbers")
        sizes.append(int(lengths[0]) if lengths else 0)
        column = column.flatten()
    if not (pa.types.is_boolean(column.type) or pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise StoreError(f"holds {column.type}, expected numbers")
    if column.null_count:
        raise StoreError(f"has {column.null_count} empty entries")
    if len(column) != rows * math.prod(sizes):
        raise StoreError(f"has {len(column)} numbers in {rows} rows of {sizes}")
    return np.asarray(column.to_numpy(zero_copy_only=False)), tuple(sizes)


def column_of(values: NDArray[Any]) -> Any:
    """Numbers ``(T, ...)`` as a column; the inverse of :meth:`Table.array`. A vector of one number becomes a plain number."""
    pa = _pyarrow()
    if values.ndim == 1 or values.shape[1:] == (1,):
        return pa.array(values.reshape(-1))
    column = pa.array(np.ascontiguousarray(values).reshape(-1))
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(column, values.shape[1])
    if values.size > np.iinfo(np.int32).max:
        raise StoreError(f"an episode's array of shape {values.shape} is too big for one column; `robolearn data split` it")
    for axis in range(values.ndim - 1, 0, -1):
        count = math.prod(values.shape[:axis])
        column = pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * values.shape[axis]), column)
    return column


def hugging_face_metadata(features: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, str]:
    """The schema note by which Hugging Face's ``datasets`` types the columns, from ``{name: (dtype, shape)}``."""
    described: dict[str, Any] = {}
    for name, (dtype, shape) in features.items():
        value = {"dtype": dtype, "_type": "Value"}
        if dtype == "image":
            described[name] = {"_type": "Image"}
        elif shape == (1,):
            described[name] = value
        elif len(shape) == 1:
            described[name] = {"feature": value, "length": shape[0], "_type": "Sequence"}
        else:
            described[name] = {"shape": list(shape), "dtype": dtype, "_type": f"Array{len(shape)}D"}
    return {"huggingface": json.dumps({"info": {"features": described}})}
