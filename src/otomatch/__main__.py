"""``python -m otomatch``: the command line."""

from otomatch.cli import main

main()
