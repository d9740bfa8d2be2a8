"""The README shows commands and code that exist."""

import ast
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from bot.cli import app
from bot.config import load_config
from bot.template import STRATEGY
from data.sources import all_sources

README = Path(__file__).resolve().parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def commands() -> list[str]:
    """Every `tidegate` line of the README's shell blocks, continued lines joined, remarks cut."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip().startswith("tidegate"):
                found.append(line.partition("  #")[0].strip())
    return found


@pytest.mark.parametrize("line", commands())
def test_commands_of_the_readme_exist(line: str) -> None:
    """Each verb is there, and so is each option it is shown with."""
    words = shlex.split(line)[1:]
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"no verb {words[0]}"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{word} is no option of {line}"


def test_settings_of_the_readme_are_keys() -> None:
    """What is shown behind --set can be set."""
    shown = re.findall(r"--set ([a-z]+\.[a-z_]+)=(\S+?)[\s`]", TEXT)
    assert shown
    load_config(None, [f"{key}={value}" for key, value in shown], base={"run": {"symbols": ["BTC/USDT"]}})


def test_the_first_strategy_is_the_one_that_init_writes() -> None:
    """The README's example and the template are one."""
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    written = STRATEGY.partition('"""\n\n')[2]
    assert ast.dump(ast.parse(block)) == ast.dump(ast.parse(written))


def test_pictures_and_files_of_the_readme_are_there() -> None:
    """Every local link leads somewhere."""
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (README.parent / target).exists(), target


def test_feeds_of_the_readme_can_be_configured() -> None:
    """The tables of feeds that it shows are taken as they stand, and every source that it names is there."""
    blocks = [block for block in re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL) if "[feeds." in block]
    for block in blocks:
        config = load_config(None, base={"run": {"symbols": ["BTC/USDT"]}, **tomllib.loads(block)})
        assert config.feeds
    assert blocks
    table = TEXT.partition("| source | brings | needs |")[2].partition("```")[0]
    named = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`([a-z_]+)`", row.split("|")[1] if "|" in row else "")
    }
    assert named == set(all_sources())
