"""A mail host that was made by hand, as the original procedure leaves one (docs/effects.md), with more of its own."""

from concurrent.futures import ThreadPoolExecutor

from conftest import DOMAIN, MAIL_HOSTS

SELECTOR = "20210808"
SCRIPT = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
printf 'postfix postfix/main_mailer_type select Internet Site\npostfix postfix/mailname string DOMAIN\n' |
  debconf-set-selections
apt-get -qq install -y postfix dovecot-imapd dovecot-pop3d dovecot-lmtpd opendkim opendkim-tools firewalld \
  sasl2-bin libsasl2-modules >/dev/null
useradd --create-home --shell /bin/bash --comment 'Carol Example' --password "$(openssl passwd -6 hand-made)" carol
useradd --create-home --shell /bin/bash alice

postconf -e mydomain=DOMAIN 'myorigin=$mydomain' inet_interfaces=all inet_protocols=all home_mailbox=Maildir/ \
  'mydestination=$myhostname, localhost.$mydomain, localhost, $mydomain' message_size_limit=10485760 \
  smtpd_sasl_auth_enable=yes broken_sasl_auth_clients=yes smtpd_milters=inet:127.0.0.1:SOCKET \
  'non_smtpd_milters=$smtpd_milters' milter_default_action=accept \
  header_checks=regexp:/etc/postfix/header_checks relayhost= 'mynetworks=127.0.0.0/8 [::1]/128' \
  'virtual_alias_maps=inline:{sales@DOMAIN=carol}' smtpd_client_connection_count_limit=77
echo '/^X-Hand-Made:/ IGNORE' >/etc/postfix/header_checks
postconf -M submission/inet='submission inet n - n - - smtpd'
postconf -P submission/inet/milter_default_action=accept
postconf -M 10025/inet='10025 inet n - n - - smtpd'
postconf -P 10025/inet/smtpd_client_restrictions=permit_mynetworks,reject
printf 'carol: /dev/null\nsales: carol\n' >>/etc/aliases
sed -i 's,^carol: /dev/null$,info: carol,' /etc/aliases
newaliases

case $(dovecot --version) in
  2.3*) printf '%s\n' 'mail_location = maildir:~/Maildir' 'disable_plaintext_auth = no' ;;
  *) printf '%s\n' 'mail_driver = maildir' 'mail_path = ~/Maildir' 'auth_allow_cleartext = yes' ;;
esac >/etc/dovecot/conf.d/99-hand-made.conf
echo 'mail_max_userip_connections = 33' >>/etc/dovecot/conf.d/99-hand-made.conf

mkdir -p /etc/opendkim/keys/DOMAIN
cd /etc/opendkim/keys/DOMAIN
opendkim-genkey -b 2048 -d DOMAIN -s SELECTOR
chown -R opendkim:opendkim /etc/opendkim/keys
chmod 0700 /etc/opendkim/keys/DOMAIN
chmod 0600 SELECTOR.private
printf '%s\n' 'Syslog yes' 'SyslogSuccess yes' 'LogWhy yes' 'Mode sv' 'Canonicalization relaxed/relaxed' \
  'Socket inet:SOCKET@localhost' 'UserID opendkim' 'UMask 007' 'PidFile /run/opendkim/opendkim.pid' \
  'OversignHeaders From' 'KeyTable /etc/opendkim/KeyTable' 'SigningTable refile:/etc/opendkim/SigningTable' \
  'ExternalIgnoreList refile:/etc/opendkim/TrustedHosts' 'InternalHosts refile:/etc/opendkim/TrustedHosts' \
  'SubDomains no' >/etc/opendkim.conf
echo 'SELECTOR._domainkey.DOMAIN DOMAIN:SELECTOR:/etc/opendkim/keys/DOMAIN/SELECTOR.private' >/etc/opendkim/KeyTable
echo '*@DOMAIN SELECTOR._domainkey.DOMAIN' >/etc/opendkim/SigningTable
printf '127.0.0.1\n::1\nlocalhost\n192.0.2.99\n' >/etc/opendkim/TrustedHosts
sed -i 's/^START=.*/START=yes/; s/^MECHANISMS=.*/MECHANISMS="pam"/' /etc/default/saslauthd 2>/dev/null || true

systemctl enable --now firewalld
for where in '' --permanent; do
  firewall-cmd -q $where --add-port=587/tcp --add-port=25/tcp --add-port=8443/tcp
  firewall-cmd -q $where --add-service=imap --add-service=pop3
done
systemctl enable postfix dovecot opendkim
systemctl restart opendkim dovecot postfix
"""
BEFORE = (
    "/etc/postfix/main.cf /etc/postfix/master.cf /etc/postfix/header_checks /etc/dovecot/dovecot.conf"
    " /etc/dovecot/conf.d/* /etc/opendkim.conf /etc/opendkim/KeyTable /etc/opendkim/SigningTable*"
    " /etc/opendkim/TrustedHosts /etc/default/saslauthd* /etc/aliases /etc/opendkim/keys/*/20210808.private"
)
"""What a hand-made host has in its files."""


SOCKETS = {"mx1": "12301", "mx2": "8891"}
"""The port of OpenDKIM: that of the guides on the web, and that of the procedure, which is the formula's."""


def make(lab, hosts):
    """Make bare hosts by hand, at the same time, with their keys' records in DNS."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: _make(lab, host), hosts))
    _bring_minions_back(lab, hosts)
    for host in hosts:
        publish(lab, host)


def _bring_minions_back(lab, hosts):
    """Have the minions connect anew: a firewall that starts knows nothing of connections that are there."""
    connected = ("ss", "-tnH", "state", "established", "dport", "=", ":4505")
    for host in hosts:
        lab.run(host, "systemctl", "restart", "salt-minion")
    for host in hosts:
        lab.until(lambda host=host: lab.run(host, *connected).out, f"{host}: the minion does not find the master")
    lab.until(lambda: len(lab.salt(MAIL_HOSTS, "test.ping")) == len(hosts), "the minions do not answer")


def _make(lab, host):
    script = SCRIPT.replace("DOMAIN", DOMAIN[host]).replace("SELECTOR", SELECTOR)
    lab.run(host, "sh", "-c", script.replace("SOCKET", SOCKETS[host]))


def publish(lab, host):
    """Have DNS show the host's hand-made key."""
    record = lab.sh(host, f"cat /etc/opendkim/keys/{DOMAIN[host]}/{SELECTOR}.txt")
    text = " ".join(f'"{one}"' for one in record.split('"')[1::2])
    name = f"{SELECTOR}._domainkey.{DOMAIN[host]}."
    lab.update_dns(f"update delete {name} TXT\nupdate add {name} 5 TXT {text}\nsend\n")


def state(lab, host):
    """What of the host mailserver.clean is to give back: a text for each kind."""
    return {
        "files": lab.sh(host, f"sha256sum {BEFORE}"),
        "modes": lab.sh(host, f"stat -c '%n %a %U %G' {BEFORE} /etc/opendkim /etc/opendkim/keys /etc/opendkim/keys/*/"),
        "ports": lab.sh(host, "for w in '' --permanent; do firewall-cmd $w --zone=public --list-all; done"),
        "listening": lab.sh(host, "ss -Hltn | awk '{print $4}' | grep -v ':4506\\|:4505' | sort"),
        "units": lab.sh(
            host,
            "for u in postfix dovecot opendkim saslauthd firewalld; do"
            " echo $u $(systemctl is-active $u) $(systemctl is-enabled $u 2>/dev/null); done",
        ),
    }
