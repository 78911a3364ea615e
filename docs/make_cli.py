"""Write docs/cli.md: the --help of every verb, from the program itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

WIDTH = 100
PAGE = Path(__file__).parent / "cli.md"
HEAD = """# The command line

Written by `make docs` from the program's own `--help`; edit `cli/main.py` instead.

A mistake ends in one line on stderr (expected, got, what to do) and exit status 2. The first Ctrl-C ends with
130 and SIGTERM with 143, in one line that says how to go on; `record`, `serve` and `browse`, which end in no
other way, end with 0 when everything is saved. Without a terminal, long work says every ten
seconds how far it is; `TUTELAGE_PROGRESS` is another number of seconds, 0 none.
"""


def page() -> str:
    """Return the page: the program's help, then each verb's, in the order of `cli/main.py`."""
    # typer and rich look at the terminal when they are imported: every terminal must give the same page
    os.environ.update(TERMINAL_WIDTH=str(WIDTH), COLUMNS=str(WIDTH), NO_COLOR="1", TERM="dumb")
    os.environ.pop("FORCE_COLOR", None)
    import typer
    from tutelage.cli.main import app
    from typer.testing import CliRunner

    verbs = typer.main.get_group(app).commands
    parts = [HEAD, _block(CliRunner().invoke(app, ["--help"], prog_name="tutelage").output)]
    for verb in verbs:
        text = CliRunner().invoke(app, [verb, "--help"], prog_name="tutelage").output
        parts += [f"## {verb}\n", _block(text)]
        for inner in getattr(verbs[verb], "commands", ()):
            words = [verb, "STORE", inner, "--help"]
            text = CliRunner().invoke(app, words, prog_name="tutelage").output
            parts += [f"### {verb} STORE {inner}\n", _block(text)]
    return "\n".join(parts)


def _block(text: str) -> str:
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "\n".join(["```text", *[line for line in lines if line], "```"]) + "\n"


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(page())
    else:
        PAGE.write_text(page(), "utf-8")
