"""What goes wrong while keys rotate costs no message: of a stream of mail none is lost, unsigned or unverifiable."""

import json
import os
import subprocess
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest
from messages import PYTHON
from streaming import (
    DOMAINS,
    KEY_FILE,
    LIFE,
    PUBLISHES,
    advance,
    advance_until_gone,
    advance_until_others_sign,
    bring_master_back,
    give_credential,
    keys,
    mail_all_the_time,
    sign,
    signers,
)

import network
from conftest import MAIL_HOSTS
from mailhost.dkim.selectors import new_selector

LONG = PUBLISHES + LIFE % ("14d", "30d")
SCHEDULED = LONG.replace("enabled: false", "every: 10s, splay: 1s")
FULL = "/etc/opendkim/.full"


@pytest.fixture(scope="module", autouse=True)
def _hosts_publish(lab):
    give_credential(lab)
    sign(lab, LONG)


def next_selectors(lab):
    """Return the selector that each domain's next key of today gets, ``{(host, domain): selector}``."""
    now = datetime.now(timezone.utc)
    return {(host, name): new_selector("{date}-{host}", host, now, rows) for (host, name), rows in keys(lab).items()}


# ---- name servers

CONF = "/etc/bind/named.conf"
ZONES = [domain for domains in DOMAINS.values() for domain in domains]


def named(lab, host, edit, then="rndc reconfig"):
    """Have a name server run with an edited configuration; ``edit`` is a program of sed."""
    lab.sh(host, f"cp -n {CONF} {CONF}.kept; sed -E '{edit}' {CONF}.kept >{CONF}; {then}")


def catch_up(lab):
    """Have the secondary ask the primary at once, and not when its time for that has come."""
    for zone in ZONES:
        lab.until(lambda zone=zone: lab.run("ns2", "rndc", "retransfer", zone, check=False).status == 0, f"no {zone}")
    lab.wait_for_secondary()


@contextmanager
def edited(lab, host, edit, then="rndc reconfig"):
    named(lab, host, edit, then)
    try:
        yield
    finally:
        named(lab, host, "", "systemctl reset-failed named; systemctl restart named")
        catch_up(lab)


@contextmanager
def secondary_is_down(lab):
    lab.run("ns2", "systemctl", "stop", "named")
    try:
        yield
    finally:
        lab.run("ns2", "systemctl", "start", "named")
        catch_up(lab)


def secondary_is_stale(lab):
    return edited(lab, "ns2", "s/primaries [{] 198.18.0.11/primaries { 198.18.0.99/")


def secondary_answers_servfail(lab):
    no_zone = (
        "s/primaries [{] 198.18.0.11/primaries { 198.18.0.99/; s#/var/lib/bind/(alpha|beta|gamma|delta)#/tmp/none-\\1#"
    )
    return edited(lab, "ns2", no_zone, "systemctl restart named")


@contextmanager
def secondary_has_another_key(lab):
    for (_, domain), selector in next_selectors(lab).items():
        asked = f"dig -k /etc/bind/lab.key @198.18.0.11 {domain} AXFR +noall +answer +onesoa"
        other = f'{selector}._domainkey.{domain}. 60 IN TXT \\"v=DKIM1; k=rsa; p=MIIBAAAA\\"'
        lab.sh("ns2", f'{{ {asked}; echo "{other}"; }} >/var/lib/bind/{domain}.other')
    own = r"/^zone .(alpha|beta|gamma|delta)/,/^}/{s/type secondary/type primary/; s/[.]zone/.other/; /primaries/d}"
    with edited(lab, "ns2", own, "systemctl restart named"):
        yield


def primary_refuses(lab):
    return edited(lab, "ns1", "s/grant mx/deny mx/")


@contextmanager
def secret_is_wrong(lab):
    for host in MAIL_HOSTS:
        lab.sh(host, f"sed -i -E 's/(secret \")..../\\1AAAA/' {KEY_FILE}")
    try:
        yield
    finally:
        give_credential(lab)


@contextmanager
def one_address_times_out(lab):
    namespace = network.host_namespace(os.environ["LAB_NAME"], "ns2")
    rules = "table inet fault { chain input { type filter hook input priority 0; ip daddr 198.18.0.13 drop; }; }"
    words = ("ip", "netns", "exec", namespace, "nft")
    subprocess.run((*words, rules), check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run((*words, "delete table inet fault"), check=True, timeout=30)


FAULTS_OF_DNS = [
    (secondary_is_down, "ns2.lab.test (198.18.0.12)"),
    (secondary_is_stale, "ns2.lab.test (198.18.0.12) shows no TXT at"),
    (secondary_answers_servfail, "SERVFAIL"),
    (secondary_has_another_key, "it holds a different key"),
    (primary_refuses, "REFUSED: its update-policy or allow-update does not let the key mx change it"),
    (secret_is_wrong, "BADSIG: the key mx has another secret there"),
    (one_address_times_out, "ns2.lab.test (198.18.0.13) gave no usable answer for"),
]


@pytest.mark.rotating(of=2)
@pytest.mark.parametrize(("fault", "said"), FAULTS_OF_DNS, ids=[fault.__name__ for fault, _ in FAULTS_OF_DNS])
def test_a_successor_waits_while_dns_is_in_trouble_and_what_signs_goes_on(lab, fault, said):
    before = signers(lab)
    with mail_all_the_time(lab):
        with fault(lab):
            lab.salt(MAIL_HOSTS, "dkim.rotate")
            for host, report in advance(lab, errors=True).items():
                told = "\n".join([*report["waiting"], *report["errors"]])
                assert said in told, (host, report)
            assert signers(lab) == before
        advance_until_others_sign(lab, before)


def test_answers_that_are_cut_are_asked_for_again_by_tcp(lab):
    before = signers(lab)
    with edited(lab, "ns1", "s/minimal-responses no-auth;/minimal-responses no; max-udp-size 512;/"):
        with mail_all_the_time(lab):
            lab.salt(MAIL_HOSTS, "dkim.rotate")
            advance_until_others_sign(lab, before)
        (_, domain), selector = next(iter(signers(lab).items()))
        words = ("dig", "@198.18.0.11", "+norec", "+ignore", f"{selector}._domainkey.{domain}", "TXT")
        assert " tc;" in lab.run("client", *words).out


# ---- OpenDKIM


def kill_opendkim(lab, host):
    lab.run(host, "systemctl", "kill", "--signal=KILL", "opendkim")


def is_active(lab, host):
    return lab.run(host, "systemctl", "is-active", "opendkim", check=False).out.strip() == "active"


def all_have_successors_in_dns(lab):
    """Make successors, and wait until DNS shows them all and their soak is over, so that the next run has them sign."""
    lab.apply("rotation", LONG.replace("soak: 1s", "soak: 10s"))
    lab.salt(MAIL_HOSTS, "dkim.rotate")
    advance(lab)

    def ready():
        # The secondary may have been slow; a run that only plans stamps nothing.
        if any(row["stage"] == "generated" for rows in keys(lab).values() for row in rows.values()):
            advance(lab)
        plans = lab.salt(MAIL_HOSTS, "dkim.plan")
        return all(plans[host]["changes"].get(name, {}).get("new") for host, names in DOMAINS.items() for name in names)

    lab.until(ready, "DNS does not show the successors")


@pytest.mark.rotating(of=3)
@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_opendkim_killed_around_the_reload_leaves_no_message_unsigned(lab, moment):
    before = signers(lab)
    with mail_all_the_time(lab):
        all_have_successors_in_dns(lab)
        for host in MAIL_HOSTS:
            if moment == "before":
                kill_opendkim(lab, host)
            if moment == "during":
                watch = (
                    "until [ -e /etc/opendkim/.KeyTable.worked ]; do sleep 0.01; done; systemctl kill -s KILL opendkim"
                )
                lab.run(host, "systemd-run", "--quiet", "sh", "-c", watch)
        advance(lab, errors=True)
        if moment == "after":
            for host in MAIL_HOSTS:
                kill_opendkim(lab, host)
        for host in MAIL_HOSTS:
            lab.until(lambda host=host: is_active(lab, host), f"{host}: systemd did not bring OpenDKIM back")
        advance_until_others_sign(lab, before)


FEW_FILES = "/run/systemd/system/opendkim.service.d/zz-few-files.conf"
"""A low limit of open files, at which few lost sockets are many."""


@contextmanager
def few_files(lab):
    """OpenDKIM has few open files as long as the block runs; so it is restarted at both ends."""
    low = f"mkdir -p $(dirname {FEW_FILES}) && printf '[Service]\nLimitNOFILE=200\n' >{FEW_FILES}"
    again = "systemctl daemon-reload && systemctl restart opendkim"
    for host in MAIL_HOSTS:
        lab.sh(host, f"{low} && {again}")
    try:
        yield
    finally:
        for host in MAIL_HOSTS:
            lab.sh(host, f"rm {FEW_FILES} && {again}")


def test_opendkim_that_lost_many_sockets_is_restarted_by_a_rotation_and_no_message_is_lost(lab):
    program = (Path(__file__).parent / "lose_sockets_program.py").read_text()
    before, process = signers(lab), "systemctl show --property=MainPID --value opendkim"
    with few_files(lab), mail_all_the_time(lab):
        for host in MAIL_HOSTS:
            lost, most = map(int, lab.run(host, PYTHON, "-", DOMAINS[host][0], stdin=program, timeout=1800).out.split())
            assert most == 100
            assert lost >= most, f"{host}: it lost {lost} sockets in the program's time"
        old = {host: lab.sh(host, process) for host in MAIL_HOSTS}
        lab.salt(MAIL_HOSTS, "dkim.rotate")
        reports = advance_until_others_sign(lab, before)
        new = {host: lab.sh(host, process) for host in MAIL_HOSTS}
        lab.salt(MAIL_HOSTS, "dkim.rotate")
        advance_until_others_sign(lab, signers(lab))
        # The next change of keys is by a signal again.
        assert {host: lab.sh(host, process) for host in MAIL_HOSTS} == new
    for host in MAIL_HOSTS:
        assert old[host] != new[host]
        notes = [note for report in reports for note in report[host]["notes"]]
        assert sum("OpenDKIM was restarted and not reloaded" in note for note in notes) == 1, notes


def test_when_opendkim_never_comes_back_the_tables_that_worked_stay_and_mail_waits(lab):
    before = signers(lab)
    with mail_all_the_time(lab):
        all_have_successors_in_dns(lab)
        for host in MAIL_HOSTS:
            lab.sh(host, "systemctl mask --runtime opendkim && systemctl stop opendkim 2>/dev/null")
        try:
            for host, report in advance(lab, errors=True).items():
                assert any("OpenDKIM" in text for text in report["errors"]), (host, report)
            assert signers(lab) == before
        finally:
            for host in MAIL_HOSTS:
                lab.sh(host, "systemctl unmask --runtime opendkim && systemctl start opendkim")
        advance_until_others_sign(lab, before)


# ---- the host itself


@contextmanager
def small_disk(lab):
    """Keys and tables lie on a small disk of their own, as long as the block runs."""
    on = "cp -a /etc/opendkim /run/kept && mount -t tmpfs -o size=4m,mode=755 small /etc/opendkim"
    for host in MAIL_HOSTS:
        lab.sh(host, f"{on} && cp -a /run/kept/. /etc/opendkim/ && rm -r /run/kept")
    try:
        yield
    finally:
        off = f"rm -f {FULL} && cp -a /etc/opendkim /run/kept && umount /etc/opendkim"
        for host in MAIL_HOSTS:
            lab.sh(host, f"{off} && cp -a /run/kept/. /etc/opendkim/ && rm -r /run/kept")


def leave_free(lab, pages):
    """Fill the small disks up to so many pages of 4096 bytes."""
    fill = f"rm -f {FULL}; dd if=/dev/zero of={FULL} bs=4k status=none 2>/dev/null; truncate -s -{4 * pages}K {FULL}"
    for host in MAIL_HOSTS:
        lab.sh(host, fill)


def fill_until_done(lab, function):
    """Run a function with no page free, with one, with two, until it has no error; all that the errors said."""
    told = ""
    for pages in range(60):
        leave_free(lab, pages)
        reports = lab.salt(MAIL_HOSTS, function).values()
        errors = [text for report in reports for text in report["errors"]]
        if not errors:
            return told
        assert all("No space left on device" in text for text in errors), errors
        told += "\n".join(errors)
    raise AssertionError(f"it needs more than 60 pages: {told}")


def test_a_disk_that_is_full_at_the_key_the_manifest_or_the_tables_costs_no_message(lab):
    before = signers(lab)
    with mail_all_the_time(lab), small_disk(lab):
        told = fill_until_done(lab, "dkim.rotate")
        for where in (".private", ".txt", "keys.json"):
            assert where in told
        for host in MAIL_HOSTS:
            lab.sh(host, f"rm {FULL}")
        all_have_successors_in_dns(lab)
        told = fill_until_done(lab, "dkim.advance")
        assert "KeyTable" in told
        advance_until_others_sign(lab, before)


def test_a_power_cut_at_any_moment_of_a_rotation_costs_no_message(lab, share):
    program = (Path(__file__).parent / "power_cut_program.py").read_text()
    lab.apply("rotation", LONG.replace("soak: 1s", "soak: 2s"))
    with mail_all_the_time(lab):
        begin, step = share(4)
        for number, host in enumerate(MAIL_HOSTS):
            first, every = begin * len(MAIL_HOSTS) + number, step * len(MAIL_HOSTS)
            run = f"{PYTHON} /root/power_cut.py {first} {every} >/root/power_cut.json"
            lab.write(host, "/root/power_cut.py", program)
            lab.run(host, "systemd-run", "--quiet", "--unit=power-cut", "-p", "RemainAfterExit=yes", "sh", "-c", run)
        for host in MAIL_HOSTS:
            lab.until(lambda host=host: _state(lab, host, "power-cut") != "running", f"{host}: no end", 1800)
            log = lab.sh(host, "journalctl -u power-cut -o cat --no-pager | tail -40")
            assert _state(lab, host, "power-cut") == "exited", log
            lab.run(host, "systemctl", "stop", "power-cut")
    told = [json.loads(lab.sh(host, "cat /root/power_cut.json")) for host in MAIL_HOSTS]
    made = {change for one in told for change in one["dkim.rotate"]}
    signed = {change for one in told for change in one["dkim.advance"]}
    assert made
    assert signed
    for what in (".private", ".txt", "keys.json") if step == 1 else ():
        assert any(what in change for change in made), made
    for what in ("KeyTable", "SigningTable", "reload", "probe", "keys.json") if step == 1 else ():
        assert any(what in change for change in signed), signed
    for host in MAIL_HOSTS:
        left = lab.sh(host, "find /etc/opendkim -name '.*' -type f ! -name .lock").split()
        assert not left


def _state(lab, host, unit):
    return lab.run(host, "systemctl", "show", "--value", "-p", "SubState", unit).out.strip()


def test_two_runs_at_once_make_one_successor_each(lab):
    lab.apply("rotation", LONG)
    before, wanted = signers(lab), next_selectors(lab)
    both = "for run in 1 2; do salt-call --local --out=json dkim.rotate >/root/run$run & done; wait; cat /root/run?"
    with mail_all_the_time(lab):
        for host in MAIL_HOSTS:
            assert '"errors": []' in lab.sh(host, both)
        advance_until_others_sign(lab, before)
    assert signers(lab) == wanted
    assert next_selectors(lab) != wanted
    assert all(wanted[place] == list(rows)[-1] for place, rows in keys(lab).items())


def test_without_the_master_the_minions_own_schedule_does_a_whole_rotation(lab):
    before = signers(lab)
    lab.apply("rotation", SCHEDULED.replace("soak", "rotate_after: 20s, soak"))
    lab.run("master", "systemctl", "stop", "salt-master")
    try:
        for host in MAIL_HOSTS:
            lab.run(host, "systemctl", "restart", "salt-minion")
        with mail_all_the_time(lab):
            for host, names in DOMAINS.items():
                for name in names:
                    lab.until(lambda host=host, name=name: _signs(lab, host, name) != before[host, name],
                              f"{host}: no rotation of {name}")  # fmt: skip
    finally:
        bring_master_back(lab)
        lab.apply("rotation", LONG)


def _signs(lab, host, name):
    table = lab.sh(host, "cat /etc/opendkim/SigningTable.domains")
    return next(line.split()[1].partition(".")[0] for line in table.splitlines() if line.startswith(f"{name} "))


def test_a_damaged_manifest_stops_its_own_domain_and_is_not_overwritten(lab):
    before = signers(lab)
    damaged = {host: f"/etc/opendkim/keys/{names[0]}/keys.json" for host, names in DOMAINS.items()}
    with mail_all_the_time(lab):
        for host, path in damaged.items():
            lab.sh(host, f"cp -p {path} {path}.good && printf '{{' >{path}")
        try:
            for report in lab.salt(MAIL_HOSTS, "dkim.rotate").values():
                assert any("keys.json: this is not a manifest of keys" in text for text in report["errors"]), report
            others = [(host, names[1]) for host, names in DOMAINS.items()]
            lab.until(
                lambda: advance(lab, errors=True) and all(_signs(lab, *place) != before[place] for place in others),
                "the other domains do not go on",
                600,
            )
            for host, path in damaged.items():
                assert lab.sh(host, f"cat {path}") == "{"
                assert _signs(lab, host, DOMAINS[host][0]) == before[host, DOMAINS[host][0]]
        finally:
            for host, path in damaged.items():
                lab.sh(host, f"mv {path}.good {path}")
        lab.salt(MAIL_HOSTS, "dkim.rotate")
        advance_until_others_sign(lab, before)


def test_an_old_message_in_the_queue_keeps_the_record_of_the_key_that_signed_it(lab):
    before = signers(lab)
    with mail_all_the_time(lab):
        lab.run("client", "systemctl", "stop", "postfix")
        try:
            lab.until(lambda: all(lab.run(host, "postqueue", "-j").out for host in MAIL_HOSTS), "no mail waits")
            lab.apply("rotation", PUBLISHES + LIFE % ("1s", "1s"))
            lab.salt(MAIL_HOSTS, "dkim.rotate")
            advance_until_others_sign(lab, before)
            advance(lab)
            for place, rows in keys(lab).items():
                row = rows[before[place]]
                assert row["stage"] == "retired"
                assert "is still in the mail queue" in row["waits"]
        finally:
            lab.run("client", "systemctl", "start", "postfix")
    advance_until_gone(lab)


def has_run_by_schedule(lab, host):
    return lab.salt(host, "schedule.job_status", "mailserver-schedule-advance")[host].get("_last_run")


def test_an_upgrade_of_the_formula_is_complete_in_a_minion_that_goes_on_running(lab):
    # A minion that runs jobs by schedule has the formula's modules in memory, and each of its jobs begins with these.
    lab.apply("rotation", SCHEDULED)
    for host in MAIL_HOSTS:
        lab.until(lambda host=host: has_run_by_schedule(lab, host), f"{host}: the schedule does nothing")
    newer = {
        "life": "def newer():\n    return 'newer'\n",
        "status": "from mailhost.dkim import life\n_older = status\n\n\ndef status(*arguments):\n"
        "    return {name: {life.newer(): rows} for name, rows in _older(*arguments).items()}\n",
    }
    try:
        with mail_all_the_time(lab):
            folder = "_utils/mailhost/dkim"
            for name, more in newer.items():
                lab.sh(
                    "master", f"mkdir -p /srv/salt/{folder} && cp /srv/formula/{folder}/{name}.py /srv/salt/{folder}/"
                )
                lab.sh("master", f"cat >>/srv/salt/{folder}/{name}.py", stdin=f"\n\n{more}")
            lab.salt(MAIL_HOSTS, "saltutil.sync_all")
            for host, names in DOMAINS.items():
                assert list(lab.salt(host, "dkim.status", names[0])[host][names[0]]) == ["newer"]
            advance(lab)
            for result in lab.highstate().values():
                result.must_succeed()
    finally:
        lab.sh("master", "rm -rf /srv/salt/_utils")
        lab.salt(MAIL_HOSTS, "saltutil.sync_all")
