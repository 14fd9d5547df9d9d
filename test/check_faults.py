"""What a row of the tables of faults says: what is broken, and which findings of mailserver.check that is to make."""

from dataclasses import dataclass, field

AREAS = ("config", "running", "protocol", "tls", "dns")
WIRE = ("protocol", "tls")
"""The areas that are looked at through a host's ports."""
WARN, FAIL, UNKNOWN = "warn", "fail", "unknown"
POSTFIX, OPENDKIM, TLS = "/etc/postfix", "/etc/opendkim /etc/opendkim.conf", "/etc/ssl/mailserver"
PYTHON, MODULES = "/opt/saltstack/salt/bin/python", "/var/cache/salt/minion/extmods/utils"
"""Salt's own Python on a host, and where the minion keeps what it got of `_utils`."""
RESTART = "systemctl reset-failed 'postfix*'; systemctl restart postfix"
"""As an operator restarts Postfix, but more often than systemd puts up with."""


@dataclass(frozen=True)
class Fault:
    """Something that is broken on a host.

    ``breaks`` is a shell script, which knows ``$host`` and ``$domain``; ``keeps`` are the paths that are put back as
    they were, ``then`` is what an operator runs after a change of them, ``mends`` what undoes the rest. ``wanted`` are
    the findings of its ``area`` that are not ok: the statuses of each id, which is told without the area. ``besides``
    are those of other areas: a port that nobody listens at offers no TLS either. ``may`` are ids that are there or not,
    as Postfix's processes come and go.
    """

    name: str
    breaks: str
    wanted: dict
    area: str
    keeps: str = ""
    then: str = ""
    mends: str = ""
    besides: dict = field(default_factory=dict)
    may: tuple = ()

    @property
    def findings(self):
        """All findings that are to be there, by their whole ids."""
        return {**{f"{self.area}.{id}": statuses for id, statuses in self.wanted.items()}, **self.besides}

    @property
    def asked(self):
        """The areas that are asked while it is there: all in which it is certain what they find.

        Of a file that changed while no daemon was told, ports say either thing: Postfix's processes come and go, and
        each has the files as they were when it started.
        """
        return [area for area in AREAS if area not in WIRE or not self._is_file_alone]

    @property
    def areas(self):
        """The areas in which the mended fault is to be gone."""
        return sorted({id.partition(".")[0] for id in self.findings})

    @property
    def mending(self):
        """The script by which daemons are as before, once the files are."""
        return "\n".join([self.then, self.mends, RESTART if self._is_file_alone else ""])

    @property
    def _is_file_alone(self):
        return self.keeps == POSTFIX and not self.then and self.area not in WIRE


@dataclass(frozen=True)
class DnsFault:
    """Records that are wrong: ``records`` are (name, type, values), instead of those that are there.

    Names and values may hold ``{key}``, where mx1's key record of alpha.test is.
    """

    name: str
    records: list
    wanted: dict
    area = "dns"
    areas = ("dns",)

    @property
    def findings(self):
        return {f"dns.{id}": statuses for id, statuses in self.wanted.items()}
