"""Runs in a mail host: checks as mailserver.check does, once for each line of standard input, with all modules loaded.

The first line has the host's settings, as JSON; each other one has the areas to check, and may have another pillar.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from mailhost.check import areas as check_areas
from mailhost.pillar import settings as pillar_settings


def check(settings, areas):
    """Return the summary of the areas, which are checked side by side: most of a check is waiting."""
    names = list(settings["domains"])
    with ThreadPoolExecutor() as threads:
        of_areas = threads.map(lambda area: check_areas.check(settings, names, (area,)), areas)
        return check_areas.summary([finding for found in of_areas for finding in found])


own = json.loads(sys.stdin.readline())
for line in sys.stdin:
    asked = json.loads(line)
    settings = pillar_settings.resolve(asked["pillar"], own["os"], {}) if "pillar" in asked else own
    print(json.dumps(check(settings, asked["areas"])), flush=True)
