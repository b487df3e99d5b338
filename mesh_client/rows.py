"""The rows of an SQL query, and the same as a table of pandas, Arrow or Polars, whichever is installed."""

import datetime as dt
import html
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from mesh.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 20

_TIMES: dict[str, Callable[[str], Any]] = {
    "TIMESTAMP": dt.datetime.fromisoformat,
    "DATE": dt.date.fromisoformat,
    "TIME": dt.time.fromisoformat,
}
"""Types of columns whose values travel as text."""


class SqlRows(Sequence[tuple[Any, ...]]):
    """The rows of a query, in order, as tuples; times are UTC without a zone, as the views have them.

    Attributes:
        columns: The names of the columns.
        types: Their DuckDB types.
        as_of: The entry of each arena's log up to which the views were folded.
        truncated: Whether there were more rows than `max_rows`.
    """

    def __init__(
        self,
        columns: Sequence[str],
        types: Sequence[str],
        rows: Sequence[Sequence[Any]],
        as_of: dict[str, int],
        *,
        truncated: bool = False,
    ) -> None:
        self.columns, self.types, self.as_of, self.truncated = list(columns), list(types), as_of, truncated
        turned = [(place, _TIMES[name]) for place, name in enumerate(types) if name in _TIMES]
        self._rows = [_typed(row, turned) for row in rows]

    @overload
    def __getitem__(self, at: int) -> tuple[Any, ...]: ...

    @overload
    def __getitem__(self, at: slice) -> list[tuple[Any, ...]]: ...

    def __getitem__(self, at: int | slice) -> tuple[Any, ...] | list[tuple[Any, ...]]:
        return self._rows[at]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)

    def __repr__(self) -> str:
        return f"SqlRows({len(self._rows)} rows of {', '.join(self.columns)})"

    def dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries; of columns with one name the last one counts."""
        return [dict(zip(self.columns, row, strict=True)) for row in self._rows]

    def df(self) -> "pd.DataFrame":
        """Return the rows as a DataFrame.

        Raises:
            BadInput: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise _missing("pandas") from None
        return pd.DataFrame(self._rows, columns=self.columns)

    def arrow(self) -> Any:
        """Return the rows as a `pyarrow.Table`.

        Raises:
            BadInput: pyarrow is not installed.
        """
        try:
            import pyarrow as pa
        except ImportError:
            raise _missing("pyarrow") from None
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self.columns)
        return pa.table([pa.array(column) for column in columns], names=self.columns)

    def pl(self) -> Any:
        """Return the rows as a `polars.DataFrame`.

        Raises:
            BadInput: Polars is not installed.
        """
        try:
            import polars as pl
        except ImportError:
            raise _missing("polars") from None
        return pl.DataFrame(self._rows, schema=self.columns, orient="row", infer_schema_length=None)

    def _repr_html_(self) -> str:
        """Return the first rows as a table, for a notebook."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        lines = [
            "".join(f"<td>{html.escape('' if value is None else str(value))}</td>" for value in row)
            for row in self._rows[:_SHOWN]
        ]
        more = f"<p>{len(self._rows) - _SHOWN} more rows</p>" if len(self._rows) > _SHOWN else ""
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>{more}"


def _typed(row: Sequence[Any], turned: Sequence[tuple[int, Callable[[str], Any]]]) -> tuple[Any, ...]:
    values = list(row)
    for place, turn in turned:
        if isinstance(values[place], str):
            values[place] = turn(values[place])
    return tuple(values)


def _missing(package: str) -> BadInput:
    return BadInput(f"the package {package} is not installed; run pip install {package}, or use the rows as they are")
