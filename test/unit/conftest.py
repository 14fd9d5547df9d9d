"""Fixtures of several unit tests: a healthy host to break, and scripted mail servers."""

import pytest
from hypothesis import settings
from mail_peers import peers_stopped

import healthy_host
from healthy_host import DOMAINS
from mailhost.dkim import keystore

settings.register_profile("busy", deadline=None)
settings.load_profile("busy")  # a machine that runs labs beside the tests may take any time for an example


@pytest.fixture(scope="session")
def pems():
    """Private keys: one for each domain, a third, and one of 1024 bits."""
    made = keystore.generate([2048, 2048, 2048, 1024])
    return dict(zip((*DOMAINS, "other", "short"), made, strict=True))


@pytest.fixture
def machine(tmp_path, pems, monkeypatch):
    return healthy_host.make(tmp_path, pems, monkeypatch)


@pytest.fixture
def peers():
    with peers_stopped() as start:
        yield start
