"""Central publishing: what a mail host asks for, and what the host that holds the DNS credential makes of it.

The mail host's rows are believed in nothing: only key records of the domains that the master's pillar gives it, in
exactly the form that this formula writes, are published, and DNS itself says which zone they belong to.
"""

import mailserver_dns
import mailserver_publish
from mailserver_key_records import change_of, oldest_if_needed, wanted_of
from mailserver_publish import Change
from mailserver_records import key_record, tags
from mailserver_schema import Domain, Integer, Items, Key, Section, Text, Wrong, read, shown

MINE = "mailserver_dkim"
"""Under this name the rows are in Salt's mine."""
EVENT = "mailserver/dkim/wanted"
"""The tag of the event that asks the master to have them published."""

_LONGEST = 8192
_NAME = Text(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\._domainkey\.[A-Za-z0-9.-]+", "the name of a key record")
_ROW = Section(
    {
        "name": Key(_NAME, "The record's name."),
        "ttl": Key(Integer(0, 2**31 - 1, "seconds"), "Its TTL."),
        "wanted": Key(Text(), "Its text; null: it is to be gone."),
        "expected": Key(Items(Text()), "Texts of the same key that may be there now.", ()),
    }
)


# ---- on the mail host


def rows(run, names, oldest_queued):
    """Return the records at ``names`` (of keys of this host) as a publisher is to have them: plain data, public.

    :param oldest_queued: see :func:`mailserver_propagation.check_published`.
    :return: for each ``{"name", "ttl", "wanted", "expected"}``, as in :class:`mailserver_publish.Change`.
    """
    names = set(names)
    domains = sorted({name.partition("._domainkey.")[2] for name in names})
    manifests = [run.manifest(domain) for domain in domains if domain in run.wanted]
    oldest = oldest_if_needed(run, manifests, oldest_queued)
    wants = [
        (manifest.domain, key, wanted_of(run, manifest.domain, key, oldest))
        for manifest in manifests
        for key in manifest.keys
        if not key.removed
    ]
    changes = [change_of(run, *want) for want in wants if not want[2].left]
    return [
        {"name": one.name, "ttl": one.ttl, "wanted": one.wanted, "expected": list(one.expected)}
        for one in changes
        if one.name in names
    ]


def ask_publisher(salt, central, mine, function, names, event):
    """Put records into the mine, where only the publisher may read them, and tell the master that they wait.

    :param salt: Salt's execution functions, by their names.
    :param central: the pillar section ``dns:central``.
    :param function: the function that returns the records at ``names``; none, nothing waits and nobody is troubled.
    :return: whether the minion passed it on.
    """
    passed_on = salt["mine.send"](
        mine,
        mine_function=function,
        names=list(names),
        allow_tgt=central["publisher"],
        allow_tgt_type=central["publisher_type"],
    )
    if passed_on and names:
        passed_on = salt["event.send"](event, {})
    return bool(passed_on)


# ---- on the host that holds the credential


def publish_rows(given, domains, dns):
    """Publish another host's :func:`rows`; ``{"sent", "already": names, "refused", "unknown": sentences}``.

    :param domains: the domains that it may have records published for.
    :param dns: the settings of this host's pillar section ``dns``.
    :raises PublishError: the credential cannot be read.
    """
    credential = mailserver_publish.read_credential(dns["rfc2136"])
    options = mailserver_dns.options(dns)
    told = {"sent": [], "already": [], "refused": [], "unknown": []}
    changes = []
    for number, row in enumerate(given, 1):
        try:
            changes.append(read_row(row, domains, f"record {number}"))
        except Wrong as err:
            told["refused"].append(f"{err}; it was not published.")
    questions = {change.name: mailserver_dns.Question(change.name, "TXT") for change in changes}
    answers = mailserver_dns.ask(questions.values(), options) if questions else {}
    placed = []
    for change in changes:
        found = answers[questions[change.name]]
        if found.zone:
            placed.append(mailserver_publish.placed(change, found))
        else:
            told["unknown"].append(f"{change.name}: its zone could not be found out: {found.trouble}")
    for one in mailserver_publish.publish(placed, credential, options):
        told[one.result].append(one.detail or one.change.name)
    return told


def read_row(row, domains, where):
    """Return a row as a :class:`mailserver_publish.Change` whose zone is not known yet.

    :raises Wrong: it is malformed, of no domain in ``domains``, or no key record as this formula writes them.
    """
    problems = []
    found = read(_ROW, row, where, problems)
    if not problems and (found["name"] is None or found["ttl"] is None):
        problems.append(f"{where}: name or ttl is missing")
    if problems:
        raise Wrong("; ".join(problems))
    domain = found["name"].partition("._domainkey.")[2]
    if domain not in domains:
        raise Wrong(f"{where}: {shown(domain)} is not among the domains of the host that asks, by its pillar")
    for text in (found["wanted"], *found["expected"]):
        if text is not None and not _is_key_record(text):
            raise Wrong(f"{where}: {shown(text)} is no key record as this formula writes them")
    return Change(found["name"], "", found["ttl"], found["wanted"], tuple(found["expected"]))


def _is_key_record(text):
    try:
        found = tags(text)
        same = key_record("", "", found["p"], 0, found["k"]).value
    except (ValueError, KeyError):
        return False
    return text == same and len(text) <= _LONGEST and found["k"] in ("rsa", "ed25519")


def domains_of(names):
    """Return the domains of a pillar as DNS has them (lower case, A-labels); what is no domain name is left out."""
    found = set()
    for name in names:
        try:
            found.add(Domain().read(name))
        except Wrong:
            continue
    return found
