"""The `scrimp` command, one file per command.

Theory of operation: `main` holds a table of commands and imports a module only when its command is called, so that
start-up stays quick. Commands parse arguments, hand values to the room that does the work, and print: people get
sentences and tables, `--json` gets one object and nothing else. Exit codes: 0 done, 1 it ran and the answer is no,
2 called wrongly.
"""
