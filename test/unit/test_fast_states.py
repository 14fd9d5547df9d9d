"""No state of a highstate has Salt load all of its modules."""

import re
from pathlib import Path

import pytest

SLS = sorted((Path(__file__).resolve().parents[2] / "mailserver").rglob("*.sls"))


@pytest.mark.parametrize("path", [path for path in SLS if path.name != "clean.sls"], ids=lambda path: str(path)[-40:])
def test_a_state_asks_by_mailserver_command_whether_there_is_something_to_do(path):
    # Salt 3008 looks for a function mod_run_check of the state's module first, and loads everything in vain.
    assert re.findall(r"^ *- (unless|onlyif|creates):", path.read_text(), re.MULTILINE) == []
