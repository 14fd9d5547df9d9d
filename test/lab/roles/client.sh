# The rest of the world: a mail server that takes all mail for outside.test, a mail program, and verifiers.
apt-get update -qq
apt-get install -qq -y --no-install-recommends postfix swaks libnet-ssleay-perl libauthen-sasl-perl libmail-dkim-perl \
  bind9-dnsutils openssl pebble testssl.sh socat sslscan nmap isync
useradd --create-home --shell /bin/bash world
cat >/etc/postfix/main.cf <<'END'
compatibility_level = 3.6
myhostname = client.lab.test
mydomain = outside.test
myorigin = outside.test
inet_interfaces = all
inet_protocols = ipv4
mydestination = outside.test, client.lab.test, localhost
mynetworks = 127.0.0.0/8
local_recipient_maps =
luser_relay = world
home_mailbox = Maildir/
alias_maps =
smtputf8_enable = no
END
/opt/saltstack/salt/bin/pip install -q dnspython dkimpy pyspf pynacl authheaders
systemctl enable -q postfix
