"""`[record]` and `[feeds.NAME]`: read by the sources' own options, and what is wrong is named as everywhere."""

from pathlib import Path

import pytest

from bot.config import Config, Places, check, load_config
from bot.config_feeds import FREE, default_feeds
from bot.record.feeds import check_secrets, chosen_feeds, near_hosts
from data.errors import InputError, InputErrors, TidegateError
from data.sources import all_sources
from data.times import MILLISECOND_NS, MINUTE_NS

RUN = '[run]\nsymbols = ["BTC/USDT"]\n'


def read(folder: Path, text: str, *settings: str) -> Config:
    """A configuration of that text."""
    file = folder / "run.toml"
    file.write_text(RUN + text, encoding="utf-8")
    return load_config(file, settings)


def faults_of(folder: Path, text: str, *settings: str) -> list[InputError]:
    """What is wrong with it; fails when nothing is."""
    with pytest.raises(TidegateError) as caught:
        read(folder, text, *settings)
    assert caught.value.exit_code == 2
    return caught.value.errors if isinstance(caught.value, InputErrors) else [caught.value]  # type: ignore[list-item]


def test_tables_are_read_by_their_sources(tmp_path: Path) -> None:
    """Two feeds of one source under names of their own; what isn't said has its default."""
    text = """
[record]
flush = "100ms"
score_sources = "x, news"
[feeds.fear_greed]
every = 30
[feeds.second]
use = "fear_greed"
url = "http://127.0.0.1:1/fng/"
patience = "5m"
enabled = false
"""
    config = read(tmp_path, text, "feeds.fear_greed.every=60")
    assert (config.record.flush, config.record.score_sources) == (100 * MILLISECOND_NS, ("x", "news"))
    first, second = config.feeds["fear_greed"], config.feeds["second"]
    assert (first.source, first.enabled, first.patience, first.options.every) == ("fear_greed", True, None, 60.0)  # type: ignore[attr-defined]
    assert (second.source, second.enabled, second.patience) == ("fear_greed", False, 5 * MINUTE_NS)
    assert near_hosts(first.options) == frozenset() and near_hosts(second.options) == {"127.0.0.1"}
    feeds, free = chosen_feeds(config)
    assert [feed.name for feed in feeds] == ["fear_greed"] and not free


def test_a_configuration_reads_back_from_its_plain_values(tmp_path: Path) -> None:
    """The scorer's process is told them so."""
    config = read(tmp_path, '[feeds.mood]\nuse = "fear_greed"\nevery = 30\npatience = "5m"\n')
    again = check(config.plain(), places=Places("the same"), folder=tmp_path)
    assert again.feeds == config.feeds and again.record == config.record and again.hash() == config.hash()


@pytest.mark.parametrize(
    ("text", "key", "what", "remedy"),
    [
        ("[feeds.fear_gred]", "feeds.fear_gred", "no such source", "'fear_greed'"),
        ('[feeds.mine]\nuse = "fear_gred"', "feeds.mine.use", "no such source", "'fear_greed'"),
        ("[feeds.fear_greed]\neverry = 5", "feeds.fear_greed.everry", "unknown key", "'every'"),
        ("[feeds.fear_greed]\nenable = true", "feeds.fear_greed.enable", "unknown key", "'enabled'"),
        ("[feeds.fear_greed]\nevery = 1", "feeds.fear_greed.every", "at least 10", "every = 600.0"),
        ('[feeds.fear_greed]\nevery = "often"', "feeds.fear_greed.every", "has to be a number", "every = 600.0"),
        ('[feeds.fear_greed]\nenabled = "perhaps"', "feeds.fear_greed.enabled", "true or false", "enabled = false"),
        ("[feeds.fear_greed]\npatience = 5", "feeds.fear_greed.patience", "with its unit", "90s"),
        ("[feeds.Fear]", "feeds.Fear", "not a feed's name", "small letters"),
        ("feeds = 3", "feeds", "has to be a table", "[feeds.news]"),
        ("[feeds]\nnews = 3", "feeds.news", "has to be a table", "[feeds.news]"),
        ('[record]\nflush = "2m"', "record.flush", "longer than a minute", "250ms"),
        ("[record]\nqueue = 0", "record.queue", "at least 1", "20000"),
        ("[record]\nflash = 1", "record.flash", "unknown key", "'flush'"),
    ],
)
def test_faults_name_key_and_remedy(tmp_path: Path, text: str, key: str, what: str, remedy: str) -> None:
    """One at a time."""
    text = text.replace("feeds = 3", "") if text != "feeds = 3" else text
    if text == "feeds = 3":
        (tmp_path / "run.toml").write_text(f"feeds = 3\n{RUN}")
        with pytest.raises(InputError) as caught:
            load_config(tmp_path / "run.toml")
        (fault,) = [caught.value]
    else:
        (fault,) = faults_of(tmp_path, text)
    assert fault.key == key and what in fault.what and remedy in (fault.remedy or "")
    assert fault.where == str(tmp_path / "run.toml")


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Of all feeds, beside those of other sections; none of them repeats what may be a secret."""
    text = """
[feeds.fear_greed]
every = 1
api_key = "hunter2"
[feeds.nobody]
[record]
queue = 0
"""
    found = faults_of(tmp_path, text)
    assert {fault.key for fault in found} == {
        "feeds.fear_greed.every", "feeds.fear_greed.api_key", "feeds.nobody", "record.queue",
    }  # fmt: skip
    assert "hunter2" not in " ".join(map(str, found))


def test_without_feeds_the_free_ones_are_recorded(tmp_path: Path) -> None:
    """Those that are there and need no key; a table that is switched off is not none."""
    feeds, free = chosen_feeds(read(tmp_path, ""))
    assert free and [feed.name for feed in feeds] == [name for name in FREE if name in all_sources()]
    assert all(not feed.card.keys and not feed.card.cost for feed in feeds)
    assert set(default_feeds()) == {feed.name for feed in feeds}
    with pytest.raises(InputError, match="no feed is enabled"):
        chosen_feeds(read(tmp_path, "[feeds.fear_greed]\nenabled = false\n"))


@pytest.mark.parametrize("name", [name for name, source in all_sources().items() if source.card.keys])
def test_secrets_are_references_and_looked_up_before_anything_begins(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never in the file; what is missing is told at the start, by its key."""
    keys = all_sources()[name].card.keys
    (fault,) = faults_of(tmp_path, f'[feeds.{name}]\n{keys[0]} = "hunter2-hunter2"\n')
    assert fault.key == f"feeds.{name}.{keys[0]}" and "hunter2" not in str(fault)
    table = "".join(f'{key} = "env:NOBODY_SET_THIS"\n' for key in keys)
    config = read(tmp_path, f"[feeds.{name}]\n{table}")
    feeds, _ = chosen_feeds(config)
    with pytest.raises(TidegateError, match="names nothing"):
        check_secrets(config, feeds)
    monkeypatch.setenv("NOBODY_SET_THIS", "x" * 40)
    check_secrets(config, feeds)
