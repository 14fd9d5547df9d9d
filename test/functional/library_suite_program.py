"""Run a library's own tests, from its unpacked source, against the installed library; print what came of them as JSON.

    python library_suite_program.py LIBRARY SOURCE

Run apart from other tests: these suites put their own DNS in place of the libraries', for the whole process.
"""

import json
import os
import sys
import unittest
from pathlib import Path


def pyspf(source):
    """Its own cases, doctests, and the two suites of the SPF project (RFC 4408, RFC 7208)."""
    if not hasattr(unittest, "makeSuite"):  # gone in Python 3.13, and pyspf's tests still call it
        unittest.makeSuite = lambda case, _: unittest.defaultTestLoader.loadTestsFromTestCase(case)
    os.chdir(source / "test")
    sys.path.insert(0, ".")
    import testspf
    import yaml

    testspf.zonedata = testspf.loadZone(next(yaml.safe_load_all(Path("doctest.yml").read_bytes())))
    return testspf.suite()


def dkimpy(source):
    """Its tests are a part of its package that is not installed: they are added to the one that is."""
    import dkim

    dkim.__path__.append(str(source / "dkim"))
    import dkim.tests

    return dkim.tests.test_suite()


def publicsuffixlist(source):
    """Its tests are installed with it; they read the list that hosts get."""
    return unittest.defaultTestLoader.loadTestsFromName("publicsuffixlist.test")


def flat(suite):
    """Yield the single tests of a suite."""
    for one in suite:
        yield from flat(one) if isinstance(one, unittest.TestSuite) else [one]


def main(library, source):
    source = Path(source)
    suite = {"pyspf": pyspf, "dkimpy": dkimpy, "publicsuffixlist": publicsuffixlist}[library](source)
    ids = [one.id() for one in flat(suite)]
    own = sys.stdout
    sys.stdout = sys.stderr  # the suites print, too
    result = unittest.TextTestRunner(stream=sys.stderr).run(suite)
    sys.stdout = own
    bad = {one.id(): text for one, text in [*result.failures, *result.errors]}
    module = sys.modules[{"pyspf": "spf", "dkimpy": "dkim"}.get(library, library)]
    skipped = [one.id() for one, _ in result.skipped]
    print(json.dumps({"ran": result.testsRun, "ids": ids, "bad": bad, "skipped": skipped, "tested": module.__file__}))


main(*sys.argv[1:])
