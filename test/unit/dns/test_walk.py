"""The walk down from the root to a zone's servers, where there is none."""

import dns.message
import dns.rrset

from mailhost.dns import lookup, queries, walk, zones

RESOLVER = "192.0.2.53"
SHOWN = {
    ("a.example", "SOA"): "ns.a.example. hostmaster.a.example. 1 2 3 4 5",
    ("a.example", "NS"): "ns.a.example.",
    ("ns.a.example", "A"): "192.0.2.1",
    ("a.example", "DS"): f"1 13 2 {'ab' * 32}",
}


def test_a_signed_zone_whose_servers_are_silent_is_unknown_without_root_servers(monkeypatch):
    async def query(self, address, name, rdtype, *_, **__):
        if address != RESOLVER:
            raise queries.Unanswered("no answer in 5 s")
        response = dns.message.make_response(dns.message.make_query(f"{name}.", rdtype))
        if text := SHOWN.get((name, rdtype)):
            response.answer = [dns.rrset.from_text(f"{name}.", 60, "IN", rdtype, text)]
        return response

    monkeypatch.setattr(queries.Asking, "query", query)
    for module in (walk, zones):
        monkeypatch.setattr(module, "no_route", lambda address: False)
    question = lookup.Question("x._domainkey.a.example", "TXT")
    answers = lookup.ask([question], lookup.Options(root_servers=()), recursive=(RESOLVER,))[question]
    verdict = lookup.judge(answers, lambda values: None)
    assert verdict.value == "unknown"
    assert "ns.a.example" in " ".join(verdict.findings)
