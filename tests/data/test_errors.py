"""Errors name file, key, value and remedy, and keep their exit codes."""

import pickle

import pytest

from data.errors import InputError, InputErrors, RefusedError, UnreachableError, WorkError, raise_all


def test_message_names_all_four() -> None:
    error = InputError("not a duration", where="a.toml", key="lag", value="6", remedy="Write 6h")
    assert str(error) == "a.toml: lag = '6': not a duration. Write 6h."
    assert str(InputError("no such file", where="x.csv")) == "x.csv: no such file"
    assert str(InputError("which coin?", key="--coin", remedy="Say it")) == "--coin: which coin? Say it."


def test_it_survives_a_process_boundary() -> None:
    error = InputError("w", where="f", key="k", value=3, remedy="r")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.where, again.key, again.value, again.remedy) == ("f", "k", 3, "r")


def test_several_at_once() -> None:
    raise_all([])
    with pytest.raises(InputError, match="one"):
        raise_all([InputError("one")])
    with pytest.raises(InputErrors) as caught:
        raise_all([InputError("one"), InputError("two")])
    assert str(caught.value) == "2 faults:\n  1. one\n  2. two"


def test_exit_codes() -> None:
    codes = [kind.exit_code for kind in (WorkError, InputError, InputErrors, RefusedError, UnreachableError)]
    assert codes == [1, 2, 2, 3, 4]
