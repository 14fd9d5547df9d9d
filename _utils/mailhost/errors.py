"""The errors that this formula raises: one class for each thing that a caller can act on."""

from mailhost.wording import lines, plain

_LONGEST = 8000
"""Characters of a line of a message."""


class MailserverError(Exception):
    """Something that the formula was asked to do could not be done; the message says what and why.

    Strangers may have written parts of it, so that it is made plain: on one line, or on ``many`` where a program of
    this host has its say.
    """

    many = False

    def __init__(self, *arguments):
        shown = lines if self.many else plain
        super().__init__(*(shown(one, _LONGEST) if isinstance(one, str) else one for one in arguments))


class PillarError(MailserverError):
    """The pillar asks for something that is not possible; ``problems`` lists every one that was found."""

    many = True

    def __init__(self, problems):
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"mailserver: the pillar has {head}; nothing was changed on this host:\n{lines}")


class UnknownSystem(MailserverError):
    """The host's operating system is none that the formula has parameters for."""


class MissingParameters(MailserverError):
    """The file server has not the files of what differs between operating systems."""


class MissingPackage(MailserverError):
    """A Python package that Salt's own Python needs is not installed."""


class DnsError(MailserverError):
    """A DNS question was for no type of record; trouble with a name or a server is an unknown answer, and no error."""


class ResolverError(MailserverError):
    """This system's resolver is not configured, so that DNS cannot be asked as a receiver would."""


class DkimError(MailserverError):
    """Base of all that can go wrong with a DKIM key."""


class ManifestError(DkimError):
    """A domain's ``keys.json`` is damaged or contradicts itself; it is never overwritten."""

    many = True


class KeyFileError(DkimError):
    """A private key file is missing, unreadable, not owned as it must be, or not the key of its row."""


class SelectorError(DkimError):
    """A key cannot have this selector: DNS holds no record of such a name."""


class KeyInUse(DkimError):
    """A private key is not destroyed, because OpenDKIM's tables name it, or may."""


class WriteError(DkimError):
    """A file could not be written, or not for good; it is never half written."""


class UnsafeFile(DkimError, OSError):
    """A file or folder is not what root may touch: a link, a FIFO, or another user's; it was left as it is."""


class CutoverError(DkimError):
    """New signing tables could not be put in force; the tables that worked are back."""


class ProbeError(DkimError):
    """A probe message did not come back from the milter signed as it must be."""


class TakeoverError(DkimError):
    """A part of an OpenDKIM configuration that was found on the host cannot be read, or not be taken over."""


class LockHeld(DkimError):
    """Another run is working on the same keys."""


class FirewallError(MailserverError):
    """firewalld does not run, or refused what was asked of it."""

    many = True


class ConfigurationRefused(MailserverError):
    """A staged configuration did not pass its checks; the one in force was not touched."""

    many = True


class NotServing(MailserverError):
    """A daemon did not serve with a new configuration; the message says what it said and what is in force now."""

    many = True


class PackagesError(MailserverError):
    """The note of which packages the formula brought is damaged, or they cannot be taken away without harm."""

    many = True


class DaemonError(MailserverError):
    """A daemon could not be reloaded or restarted; the message has the command and its words."""

    many = True


class ClockError(DkimError):
    """The host's clock lies before something that was already seen, so that no time can be trusted."""


class SelftestError(MailserverError):
    """The self-test's message was not taken, or did not come back; nothing could be judged."""

    many = True


class NotSeenYet(SelftestError):
    """A message still waits its turn in a loaded queue, or the way to see it is in use: nothing can be said of it."""


class RouteUnknown(MailserverError):
    """Postfix does not say where it would hand an address on to."""


class LeavingError(MailserverError):
    """What left the pillar could not be taken away, or the note of what the formula put there is damaged."""


class PublishError(MailserverError):
    """The credential with which records are published is missing, unreadable, malformed, or not kept secret."""


class ArgumentError(MailserverError):
    """An argument of an execution function is not what was written, because YAML read it, or no value at all for it."""


class SettingsError(MailserverError):
    """No highstate has put settings in force yet, or the file of them is damaged or of another version."""


class WatchError(MailserverError):
    """What the last run of mailserver.watch left behind is damaged, or of another version."""


class NotTold(MailserverError):
    """Nobody was told what changed: sendmail(1) did not take the message, or the master the event."""


class CertificateError(MailserverError):
    """A certificate that is asked for is missing, or cannot be read."""


class AcmeError(MailserverError):
    """certbot got no certificate, or what it needs for that is not there."""

    many = True


class WireError(MailserverError):
    """A conversation with a port of the host was cut off, or left its protocol; nothing could be judged."""


class NothingListens(WireError):
    """A port of the host refused the connection."""


class NoAnswer(WireError):
    """A port of the host did not answer within the limit."""


class PutOff(WireError):
    """A mail port takes no command for now."""


class HandshakeFailed(WireError):
    """A port of the host said that it speaks TLS, and then did not."""


class OverviewError(MailserverError):
    """What a host told of itself for the page of all hosts is damaged, or of another version of the formula."""


class MilterActionError(MailserverError):
    """Postfix could not be made to have mail wait while a milter is away; the message says what it goes by."""


class OriginalsError(MailserverError):
    """What is kept of the host before this formula is damaged, or could not be given back."""
