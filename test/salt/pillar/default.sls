# The formula's own, safe defaults: as little as an operator can say.
{%- set domain = {'mx1': 'alpha.test', 'mx2': 'beta.test'}.get(grains['id'], 'example.test') %}
mailserver:
  domains:
    {{ domain }}:
      ttl: 60
  accounts:
    users:
      alice: {password: '$6$mailserver$7B9P/V2ZHEwQt8L.QCgqDBeeps2FtPdu49vM.eEBB3YpUFwY6n6tjw26p2Z6AZrDQ3FapBFx6CREaH7JfAwJJ1'}
      bob: {password: '$6$mailserver$7B9P/V2ZHEwQt8L.QCgqDBeeps2FtPdu49vM.eEBB3YpUFwY6n6tjw26p2Z6AZrDQ3FapBFx6CREaH7JfAwJJ1'}
