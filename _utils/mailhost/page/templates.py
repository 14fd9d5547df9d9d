"""How the page of all hosts is written: Jinja templates, in text, since Salt hands on no other files than Python's.

Each value is escaped as HTML, and made visible (:func:`mailhost.page.html.page`). There is no ``safe`` in here.
"""

_PARTS = """
{% macro mark(status) %}<span class="mark {{ status }}">{{ status }}</span>{% endmacro %}

{% macro time(moment) %}<time datetime="{{ moment|iso }}">{{ moment|time }}</time>{% endmacro %}

{% macro told(pieces) %}
{% for kind, text in pieces %}
{% if kind == "code" %}
<code>{{ text }}</code>
{%- elif kind == "record" %}
<span class="record"><code>{{ text }}</code><button class="copy" type="button"><b>Copy</b><span class="unseen">
{{- " the record " ~ text.split(" ", 1)[0] }}</span></button></span>
{%- else %}
{{ text }}
{%- endif %}
{% endfor %}
{% endmacro %}

{# A browser need not read all of a long list at once: script.py unfolds the later parts. #}
{% macro parted(items) %}
{% for part in items|batch(part_size) %}
{% if items|length > part_size %}
<div class="part" data-items="{{ part|length }}">{% if not loop.first %}<noscript>{% endif %}
{% endif %}
{% for item in part %}
{{ caller(item) }}
{%- endfor %}
{% if items|length > part_size %}
{% if not loop.first %}</noscript>{% endif %}</div>
{% endif %}
{% endfor %}
{% endmacro %}

{% macro picture(drawn) %}
<svg viewBox="0 0 {{ width }} {{ drawn.height }}" height="{{ drawn.height }}" preserveAspectRatio="none">
{%- for kind, path in drawn.paths %}<path class="{{ kind }}" d="{{ path }}"/>{% endfor %}
</svg>
{%- endmacro %}

{% macro sample(kind) %}
<svg class="sample" viewBox="0 0 36 12" aria-hidden="true"><path class="{{ kind }}" d="
{{- samples.get(kind, "M2 6h32") }}"/></svg>
{%- endmacro %}

{# The hosts of a domain side by side. On narrow paper a cell has its host's name, and cells stand below each other. #}
{% macro keys(domain, stages, now, is_stacked) %}
{% if stages or domain.unread %}
<div class="keys"
{%- if domain.keys|length > 1 %} role="group" aria-label="{{ domain.name }} on its hosts" tabindex="0"{% endif %}>
<table>
<caption>Keys of {{ domain.name }}</caption>
<thead><tr><th scope="col">stage</th>
{%- for host in domain.keys %}<th scope="col">{{ host }}</th>{% endfor %}
</tr></thead>
<tbody>
{% for stage, of_hosts in stages %}
<tr><th scope="row">{{ stage }}</th>
{% for host in domain.keys %}
<td>
{%- if is_stacked %}<b class="of" aria-hidden="true">{{ host }}</b>{% endif %}
{%- for key in of_hosts[loop.index0] %}<p>{{ key|key(now) }}</p>{% else %}<p class="quiet">none</p>{% endfor %}
</td>
{% endfor %}
</tr>
{% endfor %}
{% if domain.unread %}
<tr><th scope="row">not known</th>
{% for host in domain.keys %}
<td>
{%- if is_stacked %}<b class="of" aria-hidden="true">{{ host }}</b>{% endif %}
{{- told(domain.unread.get(host, "")|prose) }}</td>
{% endfor %}
</tr>
{% endif %}
</tbody>
</table>
</div>
{% else %}
<p>No keys here.</p>
{% endif %}
{% endmacro %}
"""

_PAGE = """
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{{ verdict }} Mail servers, {{ fleet.now|time }}</title>
<style>{{ style }}</style>
</head>
<body>
{% import "parts" as parts %}
<a class="skip" href="#domains">Skip to the domains</a>
<header>
<h1>Mail servers</h1>
<p class="verdict">{{ verdict }}</p>
<p class="quiet">{{ fleet.hosts|length|count("host") }}, {{ fleet.domains|length|count("domain") }}, as of
{{ parts.time(fleet.now) }}.</p>
</header>
{% include "bar" %}
<main>
{% include "hosts" %}
{% include "findings" %}
{% include "domains" %}
</main>
<footer>
<p>Written by <code>salt-run mailserver.report</code>. Nothing on this page was fetched from elsewhere, and it does not
follow what happens: make it anew to see what changed. Times are UTC.</p>
<p id="copied" class="unseen" role="status" aria-live="polite"></p>
</footer>
<script>{{ script }}</script>
</body>
</html>
"""

_BAR = """
<form class="bar" role="search" aria-label="Narrow the page" autocomplete="off" hidden>
<input id="search" type="search" placeholder="Domain, host or finding" aria-label="Find a domain, host or finding">
<span class="choice"><label for="host">Host</label> <select id="host">
<option value="">all hosts</option>
{% for host in fleet.hosts %}
<option value="{{ numbers[host.name] }}">{{ host.name }}</option>
{% endfor %}
</select></span>
<span class="choice"><label for="show">Show</label> <select id="show">
{% for words, wanted in narrowed.items() %}
<option value="{{ wanted }}">{{ words }}</option>
{% endfor %}
</select></span>
<output id="found" for="search host show" class="quiet" role="status" aria-live="polite"></output>
</form>
"""

_HOSTS = """
{% import "parts" as parts %}
<section aria-labelledby="hosts">
<h2 id="hosts">Hosts</h2>
<ul class="legend" aria-label="What the marks say">
{% for status in statuses %}
<li>{{ parts.mark(status) }} {{ meaning[status] }}</li>
{% endfor %}
</ul>
<ul class="hosts">
{% for host in fleet.hosts|worst_first %}
{% set overview = host.overview %}
<li class="host" data-on="{{ numbers[host.name] }}{{ host.status }}">
<h3>{{ host.name }} {{ parts.mark(host.status) }}</h3>
{% if overview %}
<p>
{%- for status in statuses if overview.counts[status] %}
{{ overview.counts[status]|number }} {{ status }}{{ "" if loop.last else ", " }}
{%- else %}
nothing was looked at
{%- endfor %}
</p>
<p class="quiet">{% if overview.hostname != host.name %}{{ overview.hostname }}, {% endif %}
{{ overview.domains|length|count("domain") }}</p>
<p class="quiet">as of {{ parts.time(overview.time) }}
{%- if host.is_stale %}, <strong>{{ host.age|span }} old</strong>{% endif %}</p>
{% else %}
<p>{{ parts.told(host.trouble|prose) }}</p>
<p class="quiet">Nothing is known of its mail.</p>
{% endif %}
</li>
{% endfor %}
</ul>
{% if fleet.others %}
<p class="others quiet">Asked, too, and no mail hosts: {{ fleet.others|join(", ") }}. If one of them is one, it lacks
the formula's modules (<code>saltutil.sync_all</code>), or its pillar.</p>
{% endif %}
</section>
"""

_FINDINGS = """
{% import "parts" as parts %}
<section aria-labelledby="findings">
<h2 id="findings">What needs attention <span class="quiet">{{ items|length|number }}</span></h2>
{% for group in groups %}
<details class="group"{{ " open" if group.is_open else "" }}>
<summary><span class="turn">{{ parts.mark(group.status) }}</span> <code>{{ group.id }}</code>
<span class="quiet">{{ group.brief }}</span></summary>
{% call(item) parts.parted(group.items) %}
{% set one = item.seen.finding %}
<article class="finding" id="f{{ item.number }}" data-status="{{ one.status }}" data-on="{{ item.on }}">
<h3>{{ one.about }}{% if item.where %} <span class="quiet">on {{ item.where }}</span>{% endif %}</h3>
<span class="unseen">{{ one.status }} {{ one.id }}</span>
<dl>
<dt>wanted</dt><dd>{{ parts.told(one.wanted|prose) }}</dd>
<dt>seen</dt><dd>{{ parts.told(one.seen|prose) }}</dd>
<dt>what to do</dt><dd class="remedy">{{ parts.told(one.remedy|remedy) }}</dd>
</dl>
</article>
{% endcall %}
</details>
{% else %}
<p>Nothing.</p>
{% endfor %}
</section>
"""

_DOMAINS = """
{% import "parts" as parts %}
<section aria-labelledby="domains">
<h2 id="domains" tabindex="-1">Domains and their keys <span class="quiet">{{ lines|length|number }}</span></h2>
<ul class="legend" aria-label="The time line">
{% for kind, words in kinds.items() %}
<li>{{ parts.sample(kind) }} {{ words }}</li>
{% endfor %}
<li>{{ shown.start|day }} to {{ shown.end|day }}</li>
</ul>
<div class="{{ "many" if is_many else "" }}{{ " wide" if is_wide else "" }}" role="group" aria-labelledby="domains"
{%- if is_wide %} tabindex="0"{% endif %}>
<div class="head" aria-hidden="true"><span>domain</span>
{% for host in hosts %}
<span>{{ host }}</span>
{% endfor %}
<span class="axis"><svg>
{% for share, name in months %}
<text x="{{ share|share }}" y="14" dx="3">{{ name }}</text>
{% endfor %}
<text class="here" x="{{ shown.share(shown.now)|share }}" y="14" text-anchor="middle">now</text>
</svg></span><span class="date">next rotation</span></div>
{% call(line) parts.parted(lines) %}
{% set domain = line.domain %}
<details class="domain" id="d-{{ domain.name|urlencode }}" data-status="{{ domain.status }}" data-on="{{ line.on }}">
<summary class="row"><span class="name turn">{{ domain.name }}</span>
{% for host, status in line.cells %}
{% if status %}
<span class="mark {{ status }}"><i>{{ host }} </i>{{ status }}</span>
{% else %}
<span class="mark none"><i>{{ host }} not here</i></span>
{% endif %}
{% endfor %}
<span class="lanes" aria-hidden="true">
{% for host, drawn in line.lanes %}
<span class="lane">{% if is_many %}<small>{{ host }}</small>{% endif %}{{ parts.picture(drawn) }}</span>
{% endfor %}
</span>
<span class="date">{% if domain.rotates_at %}<i>next rotation </i>{{ domain.rotates_at|day }}{% endif %}</span>
</summary>
<div class="told">
{% if line.items %}
<ul>
{% for item in line.items %}
<li>{{ parts.mark(item.seen.finding.status) }} <a href="#f{{ item.number }}"><code>{{ item.seen.finding.id }}</code></a>
<span class="quiet">on {{ item.seen.hosts|join(", ") }}</span></li>
{% endfor %}
</ul>
{% endif %}
{{ parts.keys(domain, line.stages, fleet.now, is_stacked) }}
</div></details>
{% endcall %}
</div>
</section>
"""

TEMPLATES = {
    name: text.lstrip("\n")
    for name, text in (
        ("parts", _PARTS),
        ("page", _PAGE),
        ("bar", _BAR),
        ("hosts", _HOSTS),
        ("findings", _FINDINGS),
        ("domains", _DOMAINS),
    )
}
"""The templates by name; the page is made of ``page``."""
