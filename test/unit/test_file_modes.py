"""What the states put into files: settings are root's alone, or of the one group that needs them."""

import re
from pathlib import Path

import pytest

SLSES = sorted((Path(__file__).parents[2] / "mailserver").glob("*/*.sls"))
ROOTS_ALONE = {"{{ reflector.folder }}/mailhost"}
"""Folders into which nobody but root can put a link."""
STATE = re.compile(r"^  file\.managed:\n((?:    .*\n|\{.*\n)*)", re.MULTILINE)


def settings_files():
    """Yield the path, group and mode of each file below ``/etc/mailserver`` that a state writes."""
    for sls in SLSES:
        for (block,) in (found.groups() for found in STATE.finditer(sls.read_text())):
            said = dict(re.findall(r"^    - (name|user|group|mode): '?([^'\n]+)'?$", block, re.MULTILINE))
            if said.get("name", "").startswith("/etc/mailserver/"):
                yield said["name"], said["user"], said["group"], said["mode"]


def test_settings_are_read_by_root_or_the_one_user_who_needs_them():
    assert sorted(settings_files()) == [
        ("/etc/mailserver/dkim.json", "root", "root", "0600"),
        # Names alone; what reads them is whoever asks PAM.
        ("/etc/mailserver/login-users", "root", "root", "0644"),
        ("/etc/mailserver/reflector.json", "root", "{{ reflector.user }}", "0640"),
        ("/etc/mailserver/settings.json", "root", "root", "0600"),
    ]


@pytest.mark.parametrize("sls", SLSES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_state_changes_owners_below_a_folder_as_a_whole(sls):
    """Another user's folder may hold links: whatever walks through one as root changes what these lead to."""
    text = sls.read_text()
    assert not re.search(r"^\s+- recurse:|chown -[a-zA-Z]*R|chmod -[a-zA-Z]*R", text, re.MULTILINE)
    assert set(re.findall(r"file\.recurse:\n    - name: (.*)", text)) <= ROOTS_ALONE
    assert len(re.findall(r"file\.recurse", text)) == len(re.findall(r"file\.recurse:\n    - name: ", text))


def test_folders_that_are_copied_whole_are_roots_and_for_all_to_read():
    for sls in SLSES:
        for block in re.findall(r"^  file\.recurse:\n((?:    .*\n)*)", sls.read_text(), re.MULTILINE):
            said = dict(re.findall(r"^    - (user|group|dir_mode|file_mode): '?([^'\n]+)'?$", block, re.MULTILINE))
            assert said == {"user": "root", "group": "root", "dir_mode": "0755", "file_mode": "0644"}, sls
