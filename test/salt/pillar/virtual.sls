# Mailboxes of virtual accounts, with all that there is to choose for them.
{%- set domain, caught = {
  'mx1': ('alpha.test', 'delta.test'),
  'mx2': ('beta.test', 'gamma.test'),
}.get(grains['id'], ('example.test', 'caught.example.test')) %}
{%- set password = '$6$mailserver$7B9P/V2ZHEwQt8L.QCgqDBeeps2FtPdu49vM.eEBB3YpUFwY6n6tjw26p2Z6AZrDQ3FapBFx6CREaH7JfAwJJ1' %}
mailserver:
  domain: {{ domain }}
  domains:
    {{ domain }}: {ttl: 60}
    {{ caught }}: {ttl: 60}
  accounts:
    type: virtual
    aliases: {postmaster: operators, abuse: postmaster, operators: operator-on-call}
    virtual:
      users:
        alice@{{ domain }}: {password: {{ password }}, aliases: [a.liddell@{{ domain }}]}
        bob@{{ domain }}:
          password: {{ password }}
          quota: 40KiB
        carol@{{ domain }}:
          password: {{ password }}
          sieve: |
            require "fileinto";
            fileinto "Carols";
        dave@{{ domain }}: {password: {{ password }}, enabled: false}
      aliases:
        team@{{ domain }}: [alice@{{ domain }}, carol+team@{{ domain }}]
      catch_all: {'{{ caught }}': alice@{{ domain }}}
      quota: 100MiB
      sieve: |
        require "fileinto";
        # Written by the pillar.
        if header :contains "Subject" "[list]" {
          fileinto "Lists";
        }
  reflector: {address: check@{{ domain }}}
