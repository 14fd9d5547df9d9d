# A name server: BIND, its update key, the zones put in place before it starts, and on ns1 a resolver beside it.
apt-get update -qq
apt-get install -qq -y --no-install-recommends bind9 bind9-dnsutils
# `lab` may change everything; `mx` no more than key records: it is what a mail host gets that publishes by itself.
for name in lab mx; do
  tsig-keygen $name >/etc/bind/$name.key
  chown root:bind /etc/bind/$name.key
  chmod 0640 /etc/bind/$name.key
done

cat >/etc/systemd/system/lab-zones.service <<'END'
[Unit]
Description=Zones of the lab
Before=named.service lab-resolver.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for zone in /srv/zones/*.zone; do [ $(hostname) = ns2 ] || cp -n "$zone" /var/lib/bind/; done'
ExecStart=/bin/chown -R bind:bind /var/lib/bind

[Install]
WantedBy=multi-user.target
END
cat >/etc/systemd/system/lab-resolver.service <<'END'
[Unit]
Description=Recursive resolver of the lab
After=network.target

[Service]
ExecStartPre=/bin/install -d -o bind -g bind /run/named-resolver /var/cache/bind-resolver
ExecStart=/usr/sbin/named -f -u bind -c /srv/zones/resolver.conf

[Install]
WantedBy=multi-user.target
END
systemctl enable -q named lab-zones
