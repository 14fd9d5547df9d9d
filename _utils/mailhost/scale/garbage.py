"""Python's cyclic garbage collector, disabled while settings and answers of thousands of domains are built.

These contain no cycles. Each collection scans everything that Salt holds, which took a third of a second of a run over
ten thousand domains.
"""

import contextlib
import gc


@contextlib.contextmanager
def kept():
    """Disable the cyclic garbage collector inside the block."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
