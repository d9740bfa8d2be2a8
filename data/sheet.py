"""A file's columns by what they mean: times, numbers, texts, sums of columns, and which rows are bad."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.errors import InputError
from data.layout import reject_table
from data.options import SYNONYMS, ImportOptions
from data.readers import RawRows
from data.stamps import Stamps, read_stamps

F8 = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Faults = np.ndarray[Any, np.dtype[np.object_]]

_EMPTY = ("", "null", "none", "nan", "na", "n/a", "<na>")
_NUMERIC = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$"


@dataclass(frozen=True)
class Batch:
    """What a file came to: facts, bad rows, and what there is to say about it."""

    kind: str
    facts: pa.Table
    rejects: pa.Table
    notes: tuple[str, ...]
    empty: int = 0


class Sheet:
    """The rows of a file, asked for by meaning.

    Parameters
    ----------
    raw : RawRows
    options : ImportOptions
    """

    def __init__(self, raw: RawRows, options: ImportOptions) -> None:
        self.raw = raw
        self.options = options
        self.where = str(raw.path)
        self.rows = raw.rows.num_rows
        self.fault: Faults = np.full(self.rows, "", dtype=object)
        self.notes: list[str] = list(raw.notes)
        self._names: list[str] = list(raw.rows.column_names)

    def blame(self, mask: Mask, reason: str) -> None:
        """Mark rows as bad; the first reason stays."""
        self.fault[mask & (self.fault == "")] = reason

    def find(self, meaning: str) -> str | None:
        """Name of the column that holds a meaning, None when there is none.

        Raises
        ------
        InputError
            When a mapped column isn't there, or several could be meant.
        """
        mapped = self.options.columns.get(meaning)
        if mapped is not None:
            return self.exact(mapped, f"--map {meaning}")
        found: list[str] = [name for name in self._names if name.strip().lower() in SYNONYMS[meaning]]
        if len(found) > 1:
            raise InputError(
                f"several columns could be the {meaning}: {', '.join(found)}",
                where=self.where,
                key=meaning,
                remedy=f"Choose one with --map {shlex.quote(f'{meaning}={found[0]}')}",
            )
        return found[0] if found else None

    def need(self, meaning: str) -> str:
        """Like `find`, but the column has to be there."""
        name = self.find(meaning)
        if name is None:
            shown = ", ".join(self._names[:20]) + (
                f" and {len(self._names) - 20} more" if len(self._names) > 20 else ""
            )
            raise InputError(
                f"no column for {meaning}; there are {shown}",
                where=self.where,
                key=meaning,
                remedy=f"Name it with --map {meaning}=COLUMN",
            )
        return name

    def exact(self, name: str, key: str) -> str:
        """A column by the name the user gave, without case when that is unambiguous."""
        if name in self._names:
            return name
        alike = [other for other in self._names if other.strip().lower() == name.lower()]
        if len(alike) == 1:
            return alike[0]
        raise InputError(
            "no such column", where=self.where, key=key, value=name, remedy=f"There are {', '.join(self._names[:30])}"
        )

    def times(self, meaning: str = "time") -> Stamps:
        """The time column in nanoseconds UTC; rows without a time are blamed."""
        name = self.need(meaning)
        options = self.options
        stamps = read_stamps(
            self.raw.rows[name],
            self.raw.number,
            key=name,
            where=self.where,
            unit=options.unit,
            tz=options.tz,
            form=options.time_format,
        )
        self.notes.append(f"{name}: {stamps.description}")
        for reason in set(stamps.fault) - {""}:
            self.blame(stamps.fault == reason, str(reason))
        return stamps

    def floats(self, name: str) -> tuple[F8, Mask]:
        """Numbers of a column (NaN where there is none) and the mask of empty cells; unreadable ones are blamed."""
        values = self.raw.rows[name].combine_chunks()
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            try:
                numbers = pc.fill_null(values.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)
            except pa.ArrowException as error:
                raise InputError(f"a column of {values.type} holds no numbers", where=self.where, key=name) from error
            return numbers, np.isnan(numbers)
        texts = pc.fill_null(pc.utf8_trim_whitespace(values.cast(pa.string())), "")
        empty = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(_EMPTY))
        numeric = pc.match_substring_regex(texts, _NUMERIC)
        plain = pc.replace_substring_regex(pc.if_else(numeric, texts, "nan"), r"^\+", "")
        numbers = plain.cast(pa.float64()).to_numpy(zero_copy_only=False)
        odd = ~numeric.to_numpy(zero_copy_only=False) & ~empty.to_numpy(zero_copy_only=False)
        self.blame(odd, f"{name} is not a number")
        return numbers, empty.to_numpy(zero_copy_only=False)

    def total(self, expression: str, key: str) -> tuple[F8, Mask]:
        """Columns added and subtracted, for example ``FlowInExUSD-FlowOutExUSD``.

        Raises
        ------
        InputError
            When something else than column names, ``+`` and ``-`` stands in it.
        """
        total, empty = np.zeros(self.rows), np.zeros(self.rows, dtype=bool)
        for sign, name in self._terms(expression, key):
            numbers, absent = self.floats(name)
            with np.errstate(invalid="ignore"):  # infinity less infinity: not finite, and blamed as such
                total = total + sign * numbers
            empty |= absent
        return total, empty

    def _terms(self, expression: str, key: str) -> list[tuple[int, str]]:
        if expression.strip() in self._names:
            return [(1, expression.strip())]
        # Longest names first: a column may itself be called "a-b".
        names = sorted(self._names, key=len, reverse=True)
        term = re.compile(r"\s*([+-]?)\s*(" + "|".join(re.escape(name) for name in names) + r")\s*(?=[+-]|$)")
        terms, at = [], 0
        while at < len(expression):
            match = term.match(expression, at)
            if match is None or (at > 0 and not match[1]):
                raise InputError(
                    f"can't read {expression[at:]!r} as a column",
                    where=self.where,
                    key=key,
                    value=expression,
                    remedy=f"Only columns, + and - ; there are {', '.join(self._names[:30])}",
                )
            terms.append((-1 if match[1] == "-" else 1, match[2]))
            at = match.end()
        return terms

    def texts(self, meaning: str, default: str = "") -> list[str]:
        """Texts of a column, trimmed, or the default; ``a+b`` in the mapping joins columns by a blank line."""
        mapped = self.options.columns.get(meaning)
        if mapped is not None and mapped not in self._names and "+" in mapped:
            columns = [self._texts(self.exact(name.strip(), f"--map {meaning}")) for name in mapped.split("+")]
            return ["\n\n".join(piece for piece in row if piece) for row in zip(*columns, strict=True)]
        name = self.find(meaning)
        return [default] * self.rows if name is None else self._texts(name)

    def _texts(self, name: str) -> list[str]:
        values = self.raw.rows[name].combine_chunks()
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if pa.types.is_floating(values.type):
            values = _whole_as_int(values)
        try:
            texts: list[str] = pc.utf8_trim_whitespace(pc.fill_null(values.cast(pa.string()), "")).to_pylist()
        except (pa.ArrowException, UnicodeDecodeError) as error:  # lists, bytes of something else
            remedy = "Write it as text, or take another column with --map"
            what = f"a column of {values.type} holds no text"
            raise InputError(what, where=self.where, key=name, remedy=remedy) from error
        return texts

    def good(self) -> Mask:
        """Rows nothing was found wrong with."""
        mask: Mask = self.fault == ""
        return mask

    def rejects(self, label_of: Callable[[int], str] = lambda row: "") -> pa.Table:
        """The blamed rows with their original content, and the rows the reader set apart.

        Parameters
        ----------
        label_of : function
            The series label of a row (see `data.layout.label`) by its position.
        """
        bad = np.flatnonzero(self.fault != "")
        rows = self.raw.rows.take(pa.array(bad))
        labels = [label_of(int(at)) for at in bad]
        for name in ("series", "reason", "row"):
            if name in rows.column_names:  # the file's own column of that name must not be taken for ours
                rows = rows.rename_columns([f"{name}_" if other == name else other for other in rows.column_names])
        rows = rows.append_column("series", pa.array(labels, pa.string()))
        rows = rows.append_column("reason", pa.array([str(text) for text in self.fault[bad]], pa.string()))
        rows = rows.append_column("row", pa.array(self.raw.number[bad]))
        return pa.concat_tables([self.raw.broken, reject_table(rows)])


def _whole_as_int(values: pa.Array) -> pa.Array:
    """Ids that a reader made floats of (1234.0) as whole numbers again, where that loses nothing."""
    try:
        return values.cast(pa.int64())
    except pa.ArrowException:
        return values
