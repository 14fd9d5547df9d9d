"""Running a command, and reading its output."""

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

COMMAND_LIMIT = 60


def run_command(words: Sequence[str], limit: float = COMMAND_LIMIT) -> "CommandResult":
    """Run a command, and return the result as :class:`mailhost.command.CommandResult`; never raises an exception."""
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
        return CommandResult(None, "", str(err))
    return CommandResult(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class CommandResult:
    """A command's output and exit status; ``status`` is ``None`` if it could not be run or took too long."""

    status: int | None
    out: str
    err: str


Command: TypeAlias = Callable[[Sequence[str]], CommandResult]
"""What runs a command, as :func:`run_command` does."""


def output_lines(text: str) -> list[str]:
    """Return the distinct lines of a parser's output, without values from its file that they repeat.

    A line of main.cf that is not understood may hold a password.
    """
    lines = (line.strip() for line in text.splitlines())
    lines = (re.sub(r"(unused parameter: [^=\s]+)=.*", r"\1", line) for line in lines)
    lines = (re.sub(r"(after attribute name): .*", r"\1", line) for line in lines)
    return list(dict.fromkeys(line for line in lines if line))
