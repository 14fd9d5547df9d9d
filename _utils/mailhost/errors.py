"""The errors that this formula raises: one class for each thing that a caller can act on."""

from collections.abc import Iterable

from mailhost.wording import lines, plain

_LONGEST = 8000
"""Most characters in a line of a message."""


class MailserverError(Exception):
    """The formula could not do what it was asked to do; the message says what and why.

    Strangers may have written parts of the message, so it is made plain: on one line, or on ``many`` if it contains the
    output of a program of this host.
    """

    many = False

    def __init__(self, *arguments: object) -> None:
        shown = lines if self.many else plain
        super().__init__(*(shown(one, _LONGEST) if isinstance(one, str) else one for one in arguments))


class PillarError(MailserverError):
    """The pillar asks for something that is not possible; ``problems`` lists everything that was found."""

    many = True

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"mailserver: the pillar has {head}; nothing was changed on this host:\n{lines}")


class UnknownSystem(MailserverError):
    """The formula has no parameters for the host's operating system."""


class MissingParameters(MailserverError):
    """The file server lacks the files with the differences between operating systems."""


class MissingPackage(MailserverError):
    """A Python package that Salt's own Python needs is not installed."""


class DnsError(MailserverError):
    """A DNS question has an unknown record type. Trouble with a name or server is an unknown answer, not an error."""


class ResolverError(MailserverError):
    """This system's resolver is not configured, so DNS cannot be queried as a receiver would."""


class DkimError(MailserverError):
    """Base of all errors about DKIM keys."""


class ManifestError(DkimError):
    """A domain's ``keys.json`` is damaged or contradicts itself; it is never overwritten."""

    many = True


class KeyFileError(DkimError):
    """A private key file is missing or unreadable, has the wrong owner, or is not the key of its row."""


class SelectorError(DkimError):
    """A key cannot have this selector: DNS cannot hold a record of that name."""


class KeyInUse(DkimError):
    """A private key is not destroyed, because OpenDKIM's tables name it, or may name it."""


class WriteError(DkimError):
    """A file could not be written, or not durably; it is never half written."""


class UnsafeFile(DkimError, OSError):
    """A file or folder must not be touched by root: it is a link, a FIFO, or another user's. It was left as it was."""


class CutoverError(DkimError):
    """New signing tables could not be activated; the tables that worked are back."""


class ProbeError(DkimError):
    """A probe message did not come back from the milter with the right signature."""


class TakeoverError(DkimError):
    """A part of an OpenDKIM configuration found on the host cannot be read, or cannot be taken over."""


class LockHeld(DkimError):
    """Another run is working on the same keys."""


class FirewallError(MailserverError):
    """firewalld does not run, or refused a request."""

    many = True


class ConfigurationRefused(MailserverError):
    """A staged configuration did not pass its checks; the active one was not touched."""

    many = True


class NotServing(MailserverError):
    """A daemon did not serve with a new configuration; the message has its own words, and what is active now."""

    many = True


class PackagesError(MailserverError):
    """The note of the packages that the formula brought is damaged, or they cannot be removed without harm."""

    many = True


class DaemonError(MailserverError):
    """A daemon could not be reloaded or restarted; the message has the command and its output."""

    many = True


class ClockError(DkimError):
    """The host's clock shows a time before something that already happened, so no time can be trusted."""


class SelftestError(MailserverError):
    """The self-test's message was not accepted, or did not come back; nothing could be judged."""

    many = True


class NotSeenYet(SelftestError):
    """A message still waits in a busy queue, or the means to see it is in use: its outcome is not known."""


class RouteUnknown(MailserverError):
    """Postfix does not answer where it would send mail for an address."""


class LeavingError(MailserverError):
    """Something that left the pillar could not be removed, or the note of what the formula made is damaged."""


class PublishError(MailserverError):
    """The credential for publishing records is missing, unreadable, malformed, or not kept secret."""


class ArgumentError(MailserverError):
    """An argument of an execution function is not what was written, because YAML changed it, or is not valid at all."""


class SettingsError(MailserverError):
    """No highstate has activated settings yet, or the file with them is damaged or of another version."""


class WatchError(MailserverError):
    """The file that the last run of mailserver.watch left is damaged, or of another version."""


class NotTold(MailserverError):
    """A channel could not be notified: sendmail(1) did not accept the message, or the master the event."""


class CertificateError(MailserverError):
    """A certificate that is needed is missing, or cannot be read."""


class AcmeError(MailserverError):
    """certbot got no certificate, or something that it needs is missing."""

    many = True


class WireError(MailserverError):
    """A conversation with a port of the host was cut off, or broke the protocol; nothing could be judged."""


class NothingListens(WireError):
    """A port of the host refused the connection."""


class NoAnswer(WireError):
    """A port of the host did not answer within the limit."""


class PutOff(WireError):
    """A mail port takes no command for now."""


class HandshakeFailed(WireError):
    """A port of the host offered TLS, but the handshake failed."""


class OverviewError(MailserverError):
    """What a host reported for the page of all hosts is damaged, or of another version of the formula."""


class MilterActionError(MailserverError):
    """Postfix could not be made to let mail wait while a milter is away; the message says why."""


class OriginalsError(MailserverError):
    """The record of the host before this formula is damaged, or could not be restored."""
