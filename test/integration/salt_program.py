"""Run on the master: calls of execution functions, a line of JSON each, for which `salt` would start Python anew.

Reads ``{"target": [minion] or glob, "function", "words", "timeout"}`` and prints ``{minion: what it returned}``; a
minion that did not return is not in it.
"""

import json
import sys

import salt.client
import salt.config
import salt.utils.args

opts = salt.config.client_config("/etc/salt/master")
for line in sys.stdin:
    asked = json.loads(line)
    kind = "list" if isinstance(asked["target"], list) else "glob"
    words = salt.utils.args.parse_input(asked["words"])
    # A client for each call: one that is older has lost a master that was restarted.
    with salt.client.LocalClient(mopts=opts) as client:
        returned = client.cmd(asked["target"], asked["function"], words, timeout=asked["timeout"], tgt_type=kind)
    print(json.dumps(returned), flush=True)
