"""A mail host in a folder, as any user can have one: the formula's own states under Salt's real loader."""

import grp
import logging
import os
import pwd
import socket
from pathlib import Path
from unittest import mock

import salt.config
import salt.loader
import salt.state
import salt.utils.extmods
import yaml

TOP = Path(__file__).resolve().parents[2]
_FILES = (("file", "managed"), ("mailserver", "staged"))
_REQUISITES = ("require", "require_in", "watch", "watch_in", "onchanges", "prereq")


def _grains(options):
    """Return Salt's grains, for which the machine's resolver is not asked after the machine's own name."""

    def refuse(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "no name is looked up")

    with mock.patch.multiple(socket, getaddrinfo=refuse, gethostbyaddr=refuse):
        return salt.loader.grains(options)


class HostError(Exception):
    """A state or the rendering of the formula failed; the message is Salt's."""


class Host:
    """A host whose ``/etc`` lies in ``folder``; ``states`` is what a highstate would run, in its order.

    The one thing set otherwise than on a host is what the formula keeps for that: the parameters of the system
    (``mailserver/parameters``), so that OpenDKIM, its keys and its tables are in the folder and belong to whom runs
    this.
    """

    def __init__(self, folder, pillar):
        self.folder = folder
        self._write(pillar)
        logging.getLogger().setLevel(logging.CRITICAL)
        options = salt.config.minion_config(str(folder / "etc/salt/minion"))
        for kind in ("modules", "states", "utils"):
            salt.utils.extmods.sync(options, kind)
        self._state = salt.state.State({**options, "grains": _grains(options), "pillar": {}})
        self.states = self.call("state.show_low_sls", "mailserver")
        if not isinstance(self.states[0], dict):
            raise HostError("\n".join(self.states))

    def call(self, function, *words, **named):
        """Return what an execution function returns, as ``salt-call`` would have it."""
        return self._state.functions[function](*words, **named)

    def run(self, name):
        """Run the first state of this id, with the arguments that the SLS gives it; return what it told.

        :raises HostError: it failed.
        """
        return self._run(next(one for one in self.states if one["__id__"] == name))["comment"]

    def write_files(self):
        """Write the files that a highstate would write, and return their paths; what lies in /etc is in the folder."""
        files = [one for one in self.states if (one["state"], one["fun"]) in _FILES]
        paths = [one["name"].removeprefix(str(self.folder)) for one in files]
        for one, path in zip(files, paths, strict=True):
            kept = {name: value for name, value in one.items() if name not in ("user", "group", "check_cmd")}
            self._run({**kept, "state": "file", "fun": "managed", "name": f"{self.folder}{path}", "makedirs": True})
        return paths

    def _run(self, state):
        done = self._state.call({name: value for name, value in state.items() if name not in _REQUISITES})
        if done["result"] is False:
            raise HostError(f"{state['state']}.{state['fun']} {state['name']}: {done['comment']}")
        return done

    def _write(self, pillar):
        formula, own, pillars = (self.folder / name for name in ("formula", "own", "pillar"))
        for folder in (
            formula,
            own / "mailserver/parameters",
            pillars,
            self.folder / "etc/opendkim",
            self.folder / "etc/salt",
        ):
            folder.mkdir(parents=True)
        for name in ("mailserver", "_modules", "_states", "_utils"):
            (formula / name).symlink_to(TOP / name)
        (own / "mailserver/parameters/defaults.yaml").write_text(yaml.safe_dump(self._parameters()))
        (pillars / "top.sls").write_text("base: {'*': [mail]}\n")
        (pillars / "mail.sls").write_text(pillar)
        minion = {
            "id": "mx1",
            "root_dir": str(self.folder / "salt"),
            "file_client": "local",
            "file_roots": {"base": [str(own), str(formula)]},
            "pillar_roots": {"base": [str(pillars)]},
            "grains": {"osfinger": "Debian-12", "os_family": "Debian"},
            "enable_fqdns_grains": False,
            "enable_gpu_grains": False,
            "mailserver.dkim_settings": str(self.folder / "etc/mailserver/dkim.json"),
        }
        (self.folder / "etc/salt/minion").write_text(yaml.safe_dump(minion))

    def _parameters(self):
        """Return the formula's parameters of systems, with those of OpenDKIM as they are here."""
        parameters = yaml.safe_load((TOP / "mailserver/parameters/defaults.yaml").read_text())
        opendkim = parameters["opendkim"]
        for name, value in opendkim.items():
            if isinstance(value, str) and value.startswith("/etc/"):
                opendkim[name] = f"{self.folder}{value}"
        opendkim |= {"user": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}
        opendkim["settings"] = {
            **{name: value for name, value in opendkim["settings"].items() if name != "UserID"},
            "Syslog": "no",
            "PidFile": f"{self.folder}/opendkim.pid",
            "RequireSafeKeys": "no",  # the folder lies in /tmp, where everybody may write
        }
        return parameters
