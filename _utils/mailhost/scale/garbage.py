"""Python's search for cycles, put off while settings and answers of thousands of domains are made, which have none.

Each of the searches goes through all that Salt holds: a third of a second of a run over ten thousand domains.
"""

import contextlib
import gc


@contextlib.contextmanager
def kept():
    """Have no search begin by itself while the block runs."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
