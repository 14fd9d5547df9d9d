"""Policy records are published by the host or for it, beside others' never over them, and policies are served."""

import json

import pytest
from streaming import KEY_FILE, PUBLISHES, give_credential

from conftest import MAIL_HOSTS, pillar

ON = "both"
DOMAINS = {"mx1": ("alpha.test", "delta.test"), "mx2": ("beta.test", "gamma.test")}
ADDRESSES = {"mx1": "198.18.0.21", "mx2": "198.18.0.22"}
PREFIXES = {"SPF": "", "DMARC": "_dmarc.", "MTA-STS": "_mta-sts.", "TLS-RPT": "_smtp._tls."}
OTHERS = "lab-site-verification=1"
FOREIGN = "v=DMARC1; p=quarantine; rua=mailto:dmarc@outside.test"
CENTRAL = "  dns: {timeout: 2s, lifetime: 10s, publish: central, central: {publisher: ns1}}\n"
PUBLISHER = f"mailserver: {{dns: {{rfc2136: {{server: 127.0.0.1, key_file: {KEY_FILE}}}}}}}\n"
AUTHORITY = """set -e
mkdir -p /etc/ssl/lab && cd /etc/ssl/lab
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=The lab' -keyout ca.key -out ca.pem \\
  -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
for name in {names}; do
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout $name.key -out $name.csr 2>/dev/null
  printf '%s\\n' "subjectAltName=DNS:$name" authorityKeyIdentifier=keyid >$name.ext
  openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile $name.ext -out $name.pem \\
    2>/dev/null
done
"""
FETCH = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile="/etc/ssl/lab/ca.pem")
with urllib.request.urlopen(sys.argv[1], timeout=300, context=context) as answer:
    print(answer.headers.get_content_type(), answer.read().decode(), sep="\\n", end="")
"""
OWN_SITE = """server {
    listen 443 ssl;
    server_name www.beta.test;
    ssl_certificate /etc/ssl/lab/www.beta.test.pem;
    ssl_certificate_key /etc/ssl/lab/www.beta.test.key;
    location / { default_type text/plain; return 200 "a site of its own"; }
}
"""


@pytest.fixture(scope="module", autouse=True)
def _published_zones(lab):
    """Certificates, a site that mx2 has already, and zones with nothing of ours and something of others'."""
    names = [f"mta-sts.{name}" for domains in DOMAINS.values() for name in domains] + ["www.beta.test"]
    lab.sh("client", AUTHORITY.format(names=" ".join(names)))
    files = lab.sh("client", "tar -C /etc/ssl -cf - lab | base64 -w0")
    for host in MAIL_HOSTS:
        lab.sh(host, "apt-get update -qq && apt-get install -qq -y ca-certificates openssl")
        lab.sh(host, "base64 -d | tar -C /etc/ssl -xf -", stdin=files)
        lab.sh(host, "cp /etc/ssl/lab/ca.pem /usr/local/share/ca-certificates/lab.crt && update-ca-certificates")
    lab.sh("mx2", "apt-get install -qq -y nginx")
    lab.write("mx2", "/etc/nginx/sites-available/own", OWN_SITE)
    lab.sh("mx2", "ln -sf ../sites-available/own /etc/nginx/sites-enabled/own && systemctl restart nginx")
    updates = [f"update delete {prefix}{name} TXT" for name in zones() for prefix in PREFIXES.values()]
    for host, domains in DOMAINS.items():
        for name in domains:
            updates += [f"update delete {name} MX", f"update add {name} 5 MX 10 {host}.lab.test."]
            updates += [f"update delete mta-sts.{name} A", f"update add mta-sts.{name} 5 A {ADDRESSES[host]}"]
            updates.append(f'update add {name} 3600 TXT "{OTHERS}"')
    updates.append("update add www.beta.test 5 A 198.18.0.22")
    updates.append(f'update add _dmarc.delta.test 5 TXT "{FOREIGN}"')
    for name in zones():
        lines = [line for line in updates if line.split()[2].endswith(name)]
        lab.update_dns("\n".join([f"server 127.0.0.1\nzone {name}", *lines, "send\n"]))
    give_credential(lab)
    for host in MAIL_HOSTS:
        lab.sh(host, "rm -f /etc/mailserver/published*.json")
    lab.apply("records", PUBLISHES)


def zones():
    return [name for domains in DOMAINS.values() for name in domains]


def texts(lab, name):
    """The TXT records at a name, and their TTLs, as the primary server has them."""
    answer = lab.run("client", "dig", "+noall", "+answer", "@198.18.0.11", name, "TXT").out.replace("\\;", ";")
    return {line.split('"')[1]: int(line.split()[1]) for line in answer.splitlines() if '"' in line}


def everything(lab):
    """The TXT records at all names where policies are."""
    return {f"{prefix}{name}": texts(lab, f"{prefix}{name}") for name in zones() for prefix in PREFIXES.values()}


def publish(lab, host, *words):
    """What ``mailserver.publish`` says on a host; a refusal makes the command's status another, and no error."""
    return lab.salt(host, "mailserver.publish", *words)[host]


def fetched(lab, url):
    """A policy as a sender fetches it: type, then text."""
    return lab.run("client", "python3", "-", url, stdin=FETCH, check=False)


def policy(lab, name):
    return fetched(lab, f"https://mta-sts.{name}/.well-known/mta-sts.txt")


def test_a_plan_changes_nothing_and_says_what_is_there_and_what_would_be(lab):
    before = everything(lab)
    plan = {(row["name"], row["record"]): row for row in publish(lab, "mx1", "test=True")}
    assert len(plan) == 8
    assert plan["alpha.test", "SPF"]["result"] == "due"
    assert plan["alpha.test", "SPF"]["wanted"] == "v=spf1 ip4:198.18.0.21 -all"
    refused = plan["_dmarc.delta.test", "DMARC"]
    assert (refused["result"], refused["now"]) == ("refused", [FOREIGN])
    assert everything(lab) == before


def test_records_are_published_beside_others_and_never_over_them(lab):
    told = publish(lab, "mx1")
    names = [f"{prefix}{name}" for name in DOMAINS["mx1"] for prefix in PREFIXES.values()]
    assert told["sent"] == [name for name in names if name != "_dmarc.delta.test"]
    assert len(told["refused"]) == 1
    assert FOREIGN in told["refused"][0]
    assert texts(lab, "_dmarc.delta.test") == {FOREIGN: 5}
    assert texts(lab, "alpha.test") == {OTHERS: 3600, "v=spf1 ip4:198.18.0.21 -all": 3600}
    again = publish(lab, "mx1", "alpha.test")
    assert again == {"sent": [], "already": names[:4], "refused": [], "unknown": []}


def test_the_policy_is_served_as_senders_want_it(lab):
    for host, domains in DOMAINS.items():
        for name in domains:
            emitted = lab.salt(host, "mailserver.mta_sts_policy", name)[host]
            assert f"mx: {host}.lab.test" in emitted
            done = policy(lab, name)
            assert done.out == f"text/plain\n{emitted}", done.err


def test_what_was_published_is_found_right_by_the_check(lab):
    lab.wait_for_secondary()
    told = lab.salt("mx1", "mailserver.check", "alpha.test", "area=dns", "everything=True")["mx1"]
    found = {one["id"]: one for one in told["findings"]}
    for id in ("dns.spf", "dns.dmarc", "dns.mta_sts", "dns.tls_rpt"):
        assert found[id]["status"] == "ok", found[id]
        assert "not used" not in found[id]["seen"]
    told = lab.salt("mx1", "mailserver.check", "delta.test", "area=dns")["mx1"]
    assert "dns.dmarc" in {one["id"] for one in told["findings"]}


def test_a_site_that_was_there_before_goes_on_and_https_is_open(lab):
    assert fetched(lab, "https://www.beta.test/").out == "text/plain\na site of its own"
    for host in MAIL_HOSTS:
        assert "https" in lab.run(host, "firewall-cmd", "--list-services").out


def test_a_site_that_nginx_refuses_is_not_put_in_place_and_the_old_policy_is_served(lab):
    before = policy(lab, "alpha.test").out
    assert "max_age: 86400" in before
    site = lab.sh("mx1", "cat /etc/nginx/sites-enabled/zz-mailserver-mta-sts.conf")
    worker = lab.sh("mx1", "cat /run/nginx.pid")
    lab.forget_pillar()
    lab.set_pillar(pillar("records", PUBLISHES).replace("max_age: 1d", "max_age: 2d"), hosts=["mx1"])
    lab.sh("mx1", "mv /etc/ssl/lab/mta-sts.delta.test.pem /root/")
    try:
        states = lab.salt("mx1", "state.apply", "mailserver.mta_sts")["mx1"]
        failed = [state for state in states.values() if state["result"] is False]
        assert "mta-sts.delta.test.pem" in json.dumps(failed)
        assert lab.sh("mx1", "cat /etc/nginx/sites-enabled/zz-mailserver-mta-sts.conf") == site
        assert policy(lab, "alpha.test").out == before
        assert not lab.sh("mx1", "ls -d /etc/nginx.check.* 2>/dev/null || true")
    finally:
        lab.sh("mx1", "mv /root/mta-sts.delta.test.pem /etc/ssl/lab/")
    states = lab.salt("mx1", "state.apply", "mailserver.mta_sts")["mx1"]
    assert all(state["result"] for state in states.values()), states
    lab.until(lambda: "max_age: 172800" in policy(lab, "alpha.test").out, "the new policy is not served")
    assert lab.sh("mx1", "cat /run/nginx.pid") == worker, "nginx was restarted"


def test_a_changed_policy_is_found_until_its_record_is_published(lab):
    told = lab.salt("mx1", "mailserver.check", "alpha.test", "area=dns")["mx1"]
    (found,) = [one for one in told["findings"] if one["id"] == "dns.mta_sts"]
    assert (found["status"], "lacks id=" in found["seen"]) == ("warn", True)
    assert publish(lab, "mx1", "alpha.test")["sent"] == ["_mta-sts.alpha.test"]
    lab.wait_for_secondary()
    told = lab.salt("mx1", "mailserver.check", "alpha.test", "area=dns")["mx1"]
    assert "dns.mta_sts" not in {one["id"] for one in told["findings"]}


def orchestrate(lab, host):
    words = json.dumps({"mailserver_publish": host, "mailserver_records": True})
    done = lab.run(
        "master", "salt-run", "--out=json", "state.orchestrate", "mailserver.publisher.orchestrate", f"pillar={words}",
        check=False,
    )  # fmt: skip
    (state,) = next(iter(json.loads(done.out)["data"].values())).values()
    return state["changes"]["ret"]["ns1"], state["result"]


def test_a_host_without_a_credential_has_its_records_published_by_another(lab):
    lab.sh("mx2", f"rm -f {KEY_FILE}")
    give_credential(lab, ["ns1"])
    lab.set_pillar(PUBLISHER, hosts=["ns1"])
    applied = lab.salt("ns1", "state.apply", "mailserver.publisher", "sync_mods=all")["ns1"]
    assert all(state["result"] for state in applied.values()), applied
    lab.forget_pillar()
    lab.set_pillar(pillar("records", CENTRAL), hosts=["mx2"])
    assert {row["result"] for row in publish(lab, "mx2", "test=True")} == {"due"}
    asked = publish(lab, "mx2")
    assert len(asked["asked"]) == 8
    lab.until(lambda: len(texts(lab, "beta.test")) == 2, "the event brought nothing into DNS")
    assert texts(lab, "beta.test") == {OTHERS: 3600, "v=spf1 ip4:198.18.0.22 -all": 3600}
    told, went_well = orchestrate(lab, "mx2")
    assert went_well, told
    assert len(told["already"]) == 8
    lab.wait_for_secondary()
    assert publish(lab, "mx2")["asked"] == []


def test_a_host_that_others_got_hold_of_gets_nothing_published_that_its_pillar_does_not_say(lab):
    rows = [
        {"name": "alpha.test", "kind": "SPF", "ttl": 60, "wanted": "v=spf1 ip4:198.18.0.66 -all"},
        {"name": "beta.test", "kind": "SPF", "ttl": 60, "wanted": "v=spf1 +all"},
        {"name": "_dmarc.beta.test", "kind": "DMARC", "ttl": 60, "wanted": "v=DMARC1; p=none"},
        {"name": "_mta-sts.beta.test", "kind": "SPF", "ttl": 60, "wanted": "v=spf1 -all"},
    ]
    wish = f"data={json.dumps(rows)}"
    lab.run("mx2", "salt-call", "mine.send", "mailserver_records", "mine_function=test.outputter", wish)
    before = {name: texts(lab, name) for name in ("alpha.test", "beta.test", "_dmarc.beta.test", "_mta-sts.beta.test")}
    told, went_well = orchestrate(lab, "mx2")
    assert not went_well
    assert (told["sent"], told["already"], len(told["refused"])) == ([], [], 4)
    assert before == {name: texts(lab, name) for name in before}


def test_clean_takes_the_policies_away_and_leaves_other_sites(lab):
    lab.forget_pillar()
    for host in MAIL_HOSTS:
        states = lab.salt(host, "state.apply", "mailserver.mta_sts.clean")[host]
        assert all(state["result"] for state in states.values()), states
    for name in ("alpha.test", "beta.test"):
        lab.until(lambda name=name: "STSv1" not in policy(lab, name).out, f"the policy of {name} is still served")
    assert fetched(lab, "https://www.beta.test/").out == "text/plain\na site of its own"
    assert "https" not in lab.run("mx1", "firewall-cmd", "--list-services").out.split()
    assert "https" in lab.run("mx2", "firewall-cmd", "--list-services").out.split()
    lab.sh("mx2", "rm -f /etc/nginx/sites-enabled/own; systemctl stop nginx")
