"""A command is run, and what it printed is read."""

import re
import subprocess
from dataclasses import dataclass

COMMAND_LIMIT = 60


def run_command(words, limit=COMMAND_LIMIT):
    """Run a command, and return what came of it as :class:`mailhost.command.Done`; never raises."""
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        return Done(None, "", str(err))
    return Done(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit status; ``status`` is ``None`` if it could not be run or took too long."""

    status: int | None
    out: str
    err: str


def said(text):
    """Return the different lines of what a parser printed, without what they repeat of the values in its file.

    A line of main.cf that is not understood may hold a password.
    """
    lines = (line.strip() for line in text.splitlines())
    lines = (re.sub(r"(unused parameter: [^=\s]+)=.*", r"\1", line) for line in lines)
    lines = (re.sub(r"(after attribute name): .*", r"\1", line) for line in lines)
    return list(dict.fromkeys(line for line in lines if line))
