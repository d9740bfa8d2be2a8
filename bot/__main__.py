"""`python -m bot` is `tidegate`."""

from bot.cli import main

main()
