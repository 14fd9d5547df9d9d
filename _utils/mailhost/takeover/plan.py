"""What happens to the signatures that mail gets from a hand-made OpenDKIM configuration: kept, or reported as lost."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from mailhost.errors import DkimError, KeyFileError
from mailhost.opendkim.tables import senders_of
from mailhost.shapes import Domains, Opendkim
from mailhost.takeover import keys as takeover_keys
from mailhost.takeover.settings import settings_lost
from mailhost.takeover.signers import NOBODY, FoundConfiguration, Rule, Signature

_SELECTOR = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_DROP = "mailserver:opendkim:takeover:drop"
Load = Callable[[str, str], takeover_keys.Material]
"""What :func:`mailhost.takeover.keys.load` does."""
Present = Callable[[str, str, str], takeover_keys.Material | None]
"""What :func:`mailhost.takeover.keys.present` does."""


@dataclass(frozen=True)
class WantedHost:
    """What the pillar wants on a host: the settings of its domains and of OpenDKIM, and the folder of its keys."""

    domains: Domains
    opendkim: Opendkim
    hostname: str
    addresses: tuple[str, ...]
    keys: str


@dataclass(frozen=True)
class Loss:
    """A signature that would end or change: its cause, as ``drop`` names it, why, and what the operator can do."""

    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}. {self.remedy}"


@dataclass(frozen=True)
class Taken:
    """A key that continues to sign for a domain: its selector, its material, and where it was found."""

    selector: str
    material: takeover_keys.Material = field(repr=False)
    source: str = ""


@dataclass
class Plan:
    """``signers`` (``{domain: Taken}``) continue to sign. ``losses`` stop the run, unless the pillar allows them
    (``dropped``). ``notes`` are for the operator.
    """

    signers: dict[str, Taken] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    dropped: list[Loss] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan(
    found: FoundConfiguration,
    host: WantedHost,
    load: Load = takeover_keys.load,
    present: Present = takeover_keys.present,
) -> Plan:
    """Return the :class:`Plan` for what was found and the pillar's wishes."""
    made = Plan()
    if found.signs:
        _Planning(found, host, load, present, made).all()
    may_end = {_plain(one) for one in host.opendkim["takeover"]["drop"]}
    made.dropped = [loss for loss in made.losses if _plain(loss.what) in may_end]
    made.losses = [loss for loss in made.losses if _plain(loss.what) not in may_end]
    made.notes += [f"Ends, as {_DROP} says: {loss.what}: {loss.why}." for loss in made.dropped]
    return made


def _plain(text: str) -> str:
    return " ".join(text.split()).lower()


class _Planning:
    """The state while one plan is made."""

    def __init__(self, found: FoundConfiguration, host: WantedHost, load: Load, present: Present, made: Plan) -> None:
        self.found, self.host, self.load, self.present, self.made = found, host, load, present, made
        self.senders = senders_of(host.domains)
        self.base: str = getattr(found.settings.get("basedirectory"), "value", "/")
        self.loaded: dict[str, takeover_keys.Material] = {}

    def all(self) -> None:
        domains = self.host.domains
        for what, why in self.found.troubles:
            self._lose(what, why, f"Write it as a file: table and run again, or give it up: list it in {_DROP}.")
        # Domains that sign for themselves come first: a domain's own row decides which key is its key.
        for name in sorted(domains, key=lambda name: self._after(name) != name):
            self._mail_from(NOBODY, name, f"mail from {name}")
        for rule in self.found.rules:
            self._rule(rule)
        self.made.losses += [Loss(*one) for one in settings_lost(self.found.settings, self.host)]

    def _rule(self, rule: Rule) -> None:
        if rule.kind == "domain" and rule.name not in self.host.domains:
            self._mail_from(NOBODY, rule.name, f"mail from {rule.name}", rule)
        elif rule.kind == "below":
            self._mail_from(NOBODY, f"{NOBODY}.{rule.name}", f"mail from names below {rule.name}", rule)
        elif rule.kind == "all":
            self._mail_from(NOBODY, f"{NOBODY}.invalid", "mail from any other domain", rule)
        elif rule.kind == "address":
            user, _, domain = rule.name.rpartition("@")
            self._mail_from(user, domain, f"mail from {rule.name}", rule)
        elif rule.kind == "odd":
            why = f"{rule.where}: what this pattern fits cannot be told in the pillar's terms"
            self._lose(rule.pattern, why, f"Write it as rows for domains, or give it up: list it in {_DROP}.")

    def _mail_from(self, user: str, domain: str, who: str, only: Rule | None = None) -> None:
        """Judge each signature that mail from an address gets; with ``only``, the signature of this rule."""
        for rule in self.found.rules_for(user, domain):
            if only in (None, rule):
                try:
                    self._judge(self.found.signature(rule, domain), domain, who)
                except DkimError as err:
                    remedy = f"Put that in order and run again, or give the signature up: list it in {_DROP}."
                    self._lose(rule.pattern, f"{rule.where}: {who}: {err}", remedy)

    def _judge(self, signature: Signature, sender: str, who: str) -> None:
        after = self._after(sender)
        if after == signature.domain:
            self._take(signature, who)
        elif after is None and sender in self.host.domains:
            key = f"mailserver:domains:{sender}:dkim:enabled"
            self.made.notes.append(f"{sender}: mail is signed now and will not be, because {key} is false.")
        else:
            now = f"{signature.rule.where}: {who} is signed by {signature.domain} (selector {signature.selector})"
            then = f"and would be signed by {after} after the run" if after else "and would not be signed after the run"
            self._lose(signature.rule.pattern, f"{now} {then}", self._remedy(signature, sender))

    def _after(self, sender: str) -> str | None:
        """Return the domain that signs mail from a sender's domain according to the pillar, or ``None``."""
        domains, senders = self.host.domains, self.senders
        if sender in senders:
            return senders[sender]
        if sender in domains and domains[sender]["dkim"]["enabled"]:
            return sender
        parents = (sender[at:] for at, one in enumerate(sender) if one == ".")
        return next((senders[parent] for parent in parents if parent in senders), None)

    def _remedy(self, signature: Signature, sender: str) -> str:
        signs, rule = signature.domain, signature.rule
        drop = f"or give that up: list {rule.pattern} in {_DROP}"
        if rule.kind in ("all", "odd"):
            return (
                f"List each domain that must be signed for in mailserver:domains, and list {rule.pattern} in {_DROP}."
            )
        if sender.endswith(f".{signs}") and signs in self.host.domains:
            return f"Set mailserver:domains:{signs}:dkim:subdomains to true, {drop}."
        if rule.kind == "below":
            return f"List {rule.name} in mailserver:domains with dkim:subdomains: true, {drop}."
        if sender == signs:
            return f"List {sender} in mailserver:domains, {drop}."
        return f"Set mailserver:domains:{sender}:dkim:sign_as to {signs} (both in mailserver:domains), {drop}."

    def _take(self, signature: Signature, who: str) -> None:
        """Note that a key continues to sign for the domain that it signs for now.

        :raises KeyFileError: it cannot, or another key does already.
        """
        name, selector = signature.domain, signature.selector
        if not _SELECTOR.fullmatch(selector):
            raise KeyFileError(f"{signature.where}: {selector!r} is no selector: letters, digits and hyphens are")
        material = self._loaded(signature)
        known = self.made.signers.get(name)
        if known and (known.selector, known.material.public) != (selector, material.public):
            raise KeyFileError(f"{name} has one signature, with {known.selector}, and {selector} would sign no longer")
        there = self.present(self.host.keys, name, selector)
        if there and there.public != material.public:
            path = f"{self.host.keys}/{name}/{selector}.private"
            raise KeyFileError(f"{path}: another key lies where that of {signature.where} is to be; move it away")
        source = signature.key if signature.key.startswith("/") else signature.where
        self.made.signers.setdefault(name, Taken(selector, material, source))

    def _loaded(self, signature: Signature) -> takeover_keys.Material:
        if signature.key not in self.loaded:
            self.loaded[signature.key] = self.load(signature.key, self.base)
        return self.loaded[signature.key]

    def _lose(self, what: str, why: str, remedy: str) -> None:
        self.made.losses.append(Loss(what, why, remedy))
