"""Finding a strategy by name, file or module; every way in which that fails."""

from pathlib import Path

import pytest

from data.errors import InputError, InputErrors
from strategies.buy_and_hold import BuyAndHold
from strategies.load import SHIPPED, catalogue, load_class, load_strategy
from strategies.mood_flow import MoodFlow

GOOD = '''\
"""Mine."""

from signals import EMA
from strategies.base import Param, Strategy


class Idea(Strategy):
    """Mine."""

    average = EMA(9)
    size = Param(0.5, low=0.0, high=1.0)

    @staticmethod
    def weigh(s, p):
        return p.size
'''
OTHER = GOOD.replace("class Idea", "class Other").partition("\n\n\n")[2]


def written(folder: Path, text: str, name: str = "idea.py") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_shipped_by_name() -> None:
    assert isinstance(load_strategy("buy-and-hold"), BuyAndHold)
    assert repr(load_strategy("mood-flow", {"entry": "0.4"})) == "MoodFlow(entry=0.4)"
    assert list(catalogue()) == list(SHIPPED)
    assert all(cls.summary().endswith(".") for cls in catalogue().values())


def test_a_users_file(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    made = load_strategy(str(file), {"size": 0.25})
    assert repr(made) == "Idea(size=0.25)"
    assert type(made) is load_class(f"{file}:Idea")
    first = made.identity()
    assert load_strategy(str(file), {"size": 0.25}).identity() == first
    written(tmp_path, GOOD.replace("p.size", "p.size / 2"))
    assert load_strategy(str(file), {"size": 0.25}).identity() != first


def test_two_files_of_one_name_are_two_strategies(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, second = written(tmp_path, GOOD), written(tmp_path / "other", GOOD)
    assert load_class(str(first)) is not load_class(str(second))


def test_several_in_a_file_are_told_apart_by_name(tmp_path: Path) -> None:
    file = written(tmp_path, f"{GOOD}\n\n{OTHER}")
    with pytest.raises(InputError, match=r"several strategies: Idea, Other.*Name one: .*idea\.py:Idea"):
        load_strategy(str(file))
    assert repr(load_strategy(f"{file}:Other")) == "Other()"
    derived = written(tmp_path, f"{GOOD}\n\nclass Finer(Idea):\n    pass\n", "finer.py")
    assert repr(load_strategy(str(derived))) == "Finer()"  # its base is only there to be derived from


def test_a_module_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, GOOD, "somebodys_module.py")
    monkeypatch.chdir(tmp_path)
    assert repr(load_strategy("somebodys_module:Idea")) == "Idea()"
    assert load_class("strategies.mood_flow:MoodFlow") is MoodFlow


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def weigh(s, p)\n    return 1\n", "idea.py, line 1: strategy = 'def weigh(s, p)': syntax error"),
        ("x = 1\ny = 1 / 0\n", "idea.py, line 2: strategy: the file fails when it is read: ZeroDivisionError"),
        ("import no_such_package\n", "idea.py, line 1: strategy: the file fails when it is read: ModuleNotFoundError"),
        ("x = 1\nraise SystemExit\n", "idea.py, line 2: strategy: the file fails when it is read: SystemExit"),
        (GOOD + "    def __init__(self): pass\n", "Call super().__init__(**values)"),
        (GOOD + "    def __init__(self): 1 / 0\n", "line 16: strategy: the file fails when the strategy is made: Zero"),
        ("x = 1\n", "defines no strategy"),
        ("from strategies.mood_flow import MoodFlow\n", "defines no strategy"),
        (GOOD.replace("EMA(9)", "EMA(0)"), "idea.py, line 10: EMA.window = 0"),
        (GOOD.replace("low=0.0", "low=2.0"), "idea.py, line 11: low = 2.0"),
        (GOOD + "    stop_loss = 8\n", "idea.py: stop_loss = 8"),
        ("\0", "idea.py"),
    ],
)
def test_a_file_that_is_no_good(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_strategy(str(file))
    assert said in str(caught.value)


def test_a_class_that_is_not_there_or_no_strategy(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    with pytest.raises(InputError, match="has no class Ida. It has Idea"):
        load_strategy(f"{file}:Ida")
    with pytest.raises(InputError, match="EMA isn't a Strategy"):
        load_strategy(f"{file}:EMA")
    with pytest.raises(InputError, match="Strategy isn't a Strategy"):
        load_strategy(f"{file}:Strategy")


def test_what_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such strategy. Did you mean mood-flow"):
        load_strategy("mood-flw")
    with pytest.raises(InputError, match=r"can't be read \(No such file"):
        load_strategy(str(tmp_path / "none.py"))
    with pytest.raises(InputError, match="no module named 'nowhere'"):
        load_strategy("nowhere:Idea")
    with pytest.raises(InputError, match="no module named 'nowhere.deep'"):
        load_strategy("nowhere.deep:Idea")


def test_a_module_that_fails_is_not_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "import no_such_package\n", "broken_module.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"broken_module.*fails when it is read.*no_such_package"):
        load_strategy("broken_module:Idea")


def test_parameters_of_a_users_file_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputErrors) as caught:
        load_strategy(str(written(tmp_path, GOOD)), {"size": 3, "sise": 1})
    assert [error.key for error in caught.value.errors] == ["sise", "size"]


def test_what_a_shipped_strategy_is_set_to_is_not_blamed_on_its_file() -> None:
    with pytest.raises(InputError) as caught:
        load_strategy("ema-cross", {"fast_window": 1})
    assert caught.value.key == "fast_window" and "ema_cross.py" not in str(caught.value)
