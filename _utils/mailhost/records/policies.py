"""TXT records with policies for a domain's mail: SPF, DMARC, MTA-STS, TLS-RPT; a table of their kinds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mailhost.records import dmarc as records_dmarc
from mailhost.records import mta_sts
from mailhost.records import spf as records_spf
from mailhost.records import transport as transport_records
from mailhost.records.record import Record
from mailhost.shapes import DomainSettings


class PolicyCheck(Protocol):
    """Takes the TXT values at a name and the wanted text; returns ``None`` or a sentence that says what is wrong."""

    def __call__(self, values: Sequence[bytes], wanted: str) -> str | None: ...


@dataclass(frozen=True)
class PolicyKind:
    """One kind of record, of which a name may have one.

    ``label`` is its usual name; ``prefix`` comes before the domain in its DNS name. ``make`` takes a domain's name and
    settings and returns its :class:`mailhost.records.record.Record` or ``None``. ``counts`` tells whether a TXT value
    is of this kind, as verifiers decide it; other values at the name are not touched. ``check`` takes the values there
    and the wanted text, and returns ``None`` or what is wrong.
    """

    label: str
    prefix: str
    make: Callable[[str, DomainSettings], Record | None]
    counts: Callable[[bytes], bool]
    check: PolicyCheck

    def name_of(self, domain: str) -> str:
        """Return the DNS name of a domain's record of this kind."""
        return self.prefix + domain

    def same(self, value: bytes, text: str) -> bool:
        """Tell whether a TXT value means the same as a text."""
        return self.counts(value) and self.check((value,), text) is None


KINDS = {
    kind.label: kind
    for kind in (
        PolicyKind("SPF", "", records_spf.spf_record, records_spf.is_spf, records_spf.check_spf),
        PolicyKind(
            "DMARC", "_dmarc.", records_dmarc.dmarc_record, records_dmarc.is_dmarc,
            records_dmarc.check_dmarc,
        ),
        PolicyKind(
            "MTA-STS", "_mta-sts.", transport_records.mta_sts_record, mta_sts.is_record,
            transport_records.check_mta_sts,
        ),
        PolicyKind(
            "TLS-RPT", "_smtp._tls.", transport_records.tls_rpt_record,
            transport_records.is_tls_rpt, transport_records.check_tls_rpt,
        ),
    )
}  # fmt: skip


def of_domain(name: str, domain: DomainSettings) -> list[tuple[PolicyKind, Record]]:
    """Return pairs of :class:`PolicyKind` and record for all policy records that a domain's settings want."""
    made = ((kind, kind.make(name, domain)) for kind in KINDS.values())
    return [(kind, record) for kind, record in made if record]


def kind_at(name: str) -> PolicyKind:
    """Return the kind of policy record that belongs at a name, by its first labels; SPF for any other name."""
    named = (kind for kind in KINDS.values() if kind.prefix and name.startswith(kind.prefix))
    return next(named, KINDS["SPF"])
