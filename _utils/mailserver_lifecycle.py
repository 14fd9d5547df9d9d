"""All that is done to a host's keys in one run, and what people may have done to a key out of turn."""

from collections.abc import Callable
from dataclasses import dataclass

import mailserver_dkim
import mailserver_keystore
from mailserver_errors import DkimError
from mailserver_keygen import make_keys
from mailserver_propagation import check_published, publisher
from mailserver_run import merged
from mailserver_settled import Look
from mailserver_signing import sign


@dataclass(frozen=True)
class Host:
    """What a whole run needs of the host: its name for selectors, and its daemons.

    For ``reload`` and ``probe`` see :func:`mailserver_signing.sign`, for ``oldest_queued``
    :func:`mailserver_propagation.check_published`, for ``announce`` :func:`mailserver_propagation.publisher`.
    """

    name: str
    reload: Callable
    probe: Callable
    oldest_queued: Callable | None = None
    announce: Callable | None = None


def advance(run, host, also=(), instead=(), force=False, everything=False):
    """Do for all keys what is due: make, publish, look, sign, revoke, remove; all that was done, in one report.

    :param also, force: see :func:`mailserver_keygen.make_keys`.
    :param instead: see :func:`mailserver_signing.sign`.
    :param everything: see :func:`mailserver_propagation.check_published`.
    """
    look = Look(run, {*also, *instead}, thorough=True)
    return merged(
        make_keys(run, host.name, also, force, look),
        check_published(run, host.oldest_queued, publisher(run, host.announce), everything, look),
        sign(run, host.reload, host.probe, instead, look),
    )


def give_up(run, name, selector):
    """Say that a private key is known to others: it never signs again once another can, and is revoked right then.

    :raises DkimError: there is no such key, or it is revoked already.
    """
    manifest = run.manifest(name)
    key = manifest.key(selector)
    if key is None or key.revoked:
        selectors = ", ".join(one.selector for one in manifest.keys if not one.revoked) or "none"
        raise DkimError(f"{name}: no key {selector} to revoke; those that are not revoked: {selectors}")
    mailserver_keystore.mark_compromised(run.place.keys, name, selector)
    if key.stage in ("generated", "published"):
        run.write(manifest.with_key(mailserver_dkim.stamp(key, "retired", run.now)))


def check_can_go_back(run, name):
    """Check that a domain has a predecessor that can sign again; whether DNS shows it is for the run to find out.

    :raises DkimError: it has none, others know its private key, or its file is not as it must be.
    """
    earlier = mailserver_dkim.predecessor(run.manifest(name))
    if earlier is None:
        raise DkimError(f"{name}: no earlier key that DNS still shows; dkim.status lists the domain's keys")
    if run.is_compromised(name, earlier.selector):
        raise DkimError(f"{name}: the earlier key {earlier.selector} is known to others, and is not used again")
    mailserver_keystore.check_private(run.place.keys, name, earlier)
