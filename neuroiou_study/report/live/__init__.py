"""A study while it runs: on a terminal, in a log, for a program."""
