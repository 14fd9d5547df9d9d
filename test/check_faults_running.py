"""Faults of what runs on a mail host: units, ports, firewall, queue, disks, the log, and the clock."""

from functools import partial

from check_faults import FAIL, OPENDKIM, POSTFIX, RESTART, UNKNOWN, WARN, Fault

running = partial(Fault, area="running")

SEND = "printf 'Subject: x\\n\\nx\\n' | sendmail -i -f alice"
EMPTY = "postsuper -d ALL 2>/dev/null"
QUEUE = "/var/spool/postfix"
OLDER = 'moment=$(($(date +%s) - 5 * 3600)); LC_ALL=C sed -i -E "s/\\b1[0-9]{9}\\b/$moment/g" $file'
"""Makes a message five hours old: when it came is in its file in the queue."""
DEFERRED = f"""{SEND} 'nobody@[198.18.0.10]'
until file=$(find {QUEUE}/deferred -type f | grep .); do sleep 0.1; done"""
STUCK = f"""pkill -STOP -x qmgr
{SEND} bob
until file=$(find {QUEUE}/incoming -type f -perm 700 | grep .); do sleep 0.1; done"""

HOME = "/home/alice"
SMALL = f"mount -t tmpfs -o size=1m,nr_inodes=1000,mode=755 small {HOME}"
NEWER = r"""cd /etc/opendkim
sed -i -E 's/ \S+(\._domainkey)/ newer\1/' SigningTable*
sed -i -E 's/^\S+(\._domainkey\S* [^:]+:)[^:]+/newer\1newer/' KeyTable
touch -d '2 hours ago' *Table*"""
"""Tables that have named another key for two hours, which OpenDKIM did not read."""

RUNNING_FAULTS = [
    running(
        "OpenDKIM is stopped",
        "systemctl stop opendkim",
        {"unit": {FAIL}, "listener": {FAIL}},
        mends="systemctl start opendkim",
        besides={
            "protocol.smtp.login_required": {UNKNOWN},
            "protocol.smtp.open_relay": {UNKNOWN},
            "protocol.smtp.starttls": {UNKNOWN},
            "tls.protocol.modern": {UNKNOWN},
        },
    ),
    running(
        "Dovecot is stopped",
        "systemctl stop dovecot",
        {"unit": {FAIL}, "listener": {FAIL}},
        mends="systemctl start dovecot",
        besides={"protocol.imap.listens": {FAIL}, "protocol.pop3.listens": {FAIL}, "tls.protocol.modern": {UNKNOWN}},
    ),
    running(
        "Postfix is stopped by its own command",  # on Debian 12 the unit postfix stays active
        "postfix stop 2>/dev/null",
        {"unit": {FAIL}, "listener": {FAIL}},
        mends=RESTART,
        besides={"protocol.smtp.listens": {FAIL}, "tls.protocol.modern": {UNKNOWN}},
    ),
    running(
        "Dovecot does not start at boot",
        "systemctl disable dovecot 2>/dev/null",
        {"unit_enabled": {WARN}},
        mends="systemctl enable dovecot 2>/dev/null",
    ),
    running(
        "Postfix listens for this host alone",
        "postconf -e inet_interfaces=loopback-only",
        {"listener": {FAIL}},
        keeps=POSTFIX,
        then=RESTART,
        besides={"config.postfix.main": {WARN}, "protocol.smtp.listens": {FAIL}, "tls.protocol.modern": {UNKNOWN}},
    ),
    running(
        "OpenDKIM listens for everybody",
        "sed -i 's/inet:8891@127.0.0.1/inet:8891/' /etc/opendkim.conf",
        {"listener": {WARN}},
        keeps="/etc/opendkim.conf",
        then="systemctl restart opendkim",
        besides={"config.opendkim.setting": {WARN}},
    ),
    running(
        "a port that is shut now",
        "firewall-cmd -q --remove-service=imaps",
        {"firewall": {FAIL}},
        mends="firewall-cmd -q --reload",
    ),
    running(
        "a port that will be shut",
        "firewall-cmd -q --permanent --remove-service=imaps",
        {"firewall": {WARN}},
        mends="firewall-cmd -q --permanent --add-service=imaps",
    ),
    running(
        "a port that was opened for now",
        "firewall-cmd -q --add-port=8080/tcp",
        {"firewall_permanent": {WARN}},
        mends="firewall-cmd -q --reload",
    ),
    running(
        "no firewall",
        "systemctl stop firewalld",
        {"unit": {FAIL}, "firewall": {FAIL}},
        mends="systemctl start firewalld",
    ),
    running(
        "a message that waits for five hours",
        f"{DEFERRED}\n{OLDER}",
        {"queue_age": {WARN}},
        mends=EMPTY,
        besides={"config.postfix.parser": {WARN}},
    ),
    running(
        "a queue manager that hangs",
        f"{STUCK}\n{OLDER}",
        {"queue_age": {FAIL}},
        mends=f"pkill -CONT -x qmgr; {EMPTY}",
        besides={"config.postfix.parser": {WARN}},
    ),
    running(
        "a long queue",
        f"{DEFERRED}\nfor number in $(seq 100 199); do cp -p $file $file$number; done",
        {"queue_length": {WARN}},
        mends=EMPTY,
        besides={"config.postfix.parser": {WARN}},
    ),
    running(
        "mail for a transport that master.cf has not",
        f"""postconf -e default_transport=nowhere:
postfix reload
{SEND} world@outside.test
until postqueue -j | grep -q 'mail transport unavailable'; do sleep 0.1; done""",
        {"deferred": {FAIL}},
        keeps=POSTFIX,
        mends=EMPTY,
        besides={"config.postfix.main": {WARN}, "config.postfix.transport": {FAIL}},
    ),
    running(
        "a delivery agent that gives up on every message",
        f"""postconf -e mailbox_size_limit=1000
postfix reload
{SEND} bob
until journalctl -q -n 50 -u postfix.service -u postfix@-.service | grep -q 'limit is smaller'; do sleep 0.1; done""",
        {"log": {FAIL}},
        keeps=POSTFIX,
        mends=EMPTY,
        besides={"config.postfix.main": {WARN}, "config.postfix.limits": {FAIL}},
    ),
    running(
        "a relay host that DNS does not know",
        f"""postconf -e relayhost=[smtp.nowhere.test]
postfix reload
{SEND} world@outside.test
until postqueue -j | grep -q delay_reason; do sleep 0.1; done""",
        {"deferred": {FAIL}, "log": {FAIL}},
        keeps=POSTFIX,
        mends=EMPTY,
        besides={"config.postfix.main": {WARN}},
    ),
    running(
        "a disk of mail with little room",
        f"{SMALL}; dd if=/dev/zero of={HOME}/x bs=1k count=950 status=none",
        {"disk_space": {WARN}},
        mends=f"umount {HOME}",
    ),
    running(
        "a disk of mail without inodes",
        f"{SMALL}; for one in $(seq 990); do : >{HOME}/$one; done",
        {"disk_inodes": {FAIL}},
        mends=f"umount {HOME}",
    ),
    running(
        "OpenDKIM signs by old tables",
        NEWER,
        {"signature": {WARN}},
        keeps=OPENDKIM,
        besides={"config.dkim.signing_table": {FAIL}, "dns.dkim.signs": {WARN}},
    ),
    running(
        "a damaged record of the time",
        "printf '{' >/etc/opendkim/keys/clock.json",
        {"clock": {FAIL}},
        keeps=OPENDKIM,
        besides={"dns.dkim": {UNKNOWN}},
    ),
]
