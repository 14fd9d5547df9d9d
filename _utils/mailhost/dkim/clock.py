"""The trusted time, kept beside the keys from run to run; an operator can declare the host's clock right."""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path

from mailhost import clock as trusted_clock
from mailhost import files as safe_files
from mailhost.clock import shown_time
from mailhost.dkim import keystore, life
from mailhost.dkim.life import Manifest
from mailhost.errors import ClockError, ManifestError, UnsafeFile
from mailhost.files import AnyPath

CLOCK = "clock.json"
"""The file of the trusted time, in the folder of the keys."""
CLOCK_STEP = 3600
"""Seconds after which the trusted time is written again; runs in quick succession write nothing."""


def believe_clock(keys: AnyPath) -> datetime:
    """Trust the host's clock from now on, because an operator says that it is right; return the trusted time.

    No soak and no retention gets shorter. Where the clock was ahead, nobody witnessed the time in between, so these
    periods start again. Where it was behind, stamps that now lie in the future are set to now. If a call was cut short,
    repeat it.

    :raises ManifestError: manifests are damaged; nothing was changed.
    :raises ClockError: the clock was never set, or the trusted time's file is damaged.
    """
    path = Path(keys) / CLOCK
    before = trusted_clock.advance(read(path), trusted_clock.read())
    clock = trusted_clock.believe(before)
    now, manifests = trusted_clock.utc(clock.trusted), _all_manifests(keys)
    # Stamps move ahead before the clock does, and back after it. In the other order, a call that is cut short in
    # between would make retentions look finished.
    if clock.trusted > before.trusted:
        manifests = _rewritten(keys, manifests, lambda manifest: life.wait_anew(manifest, now))
    write(path, clock)
    _rewritten(keys, manifests, lambda manifest: life.not_after(manifest, now))
    return now


def _all_manifests(keys: AnyPath) -> list[Manifest]:
    """Return the manifests of all domains that have one.

    :raises ManifestError: some are damaged; the message names them all.
    """
    names, read = keystore.domains_on_disk(keys), partial(keystore.read_manifest, keys)
    manifests, troubles = keystore.read_each(names, read)
    if troubles:
        raise ManifestError("\n".join([*troubles.values(), "The clock is not believed yet, and nothing was changed."]))
    return list(manifests.values())


def _rewritten(keys: AnyPath, manifests: Iterable[Manifest], change: Callable[[Manifest], Manifest]) -> list[Manifest]:
    """Apply ``change`` to the manifests and write those that it changed; return all of them."""
    changed = [change(manifest) for manifest in manifests]
    for before, after in zip(manifests, changed, strict=True):
        if after != before:
            keystore.write_manifest(keys, after)
    return changed


def read(path: Path) -> trusted_clock.Clock | None:
    try:
        return trusted_clock.parse(safe_files.read_text(path, roots=True), str(path))
    except FileNotFoundError:
        return None
    except UnsafeFile as err:
        raise ClockError(str(err)) from err
    except (OSError, UnicodeDecodeError) as err:
        raise ClockError(f"{path}: cannot be read: {err}") from err


def write(path: Path, clock: trusted_clock.Clock) -> None:
    safe_files.replace_file(path, trusted_clock.emit(clock), 0o644)


def disbelief(clock: trusted_clock.Clock) -> str:
    wall, now = trusted_clock.utc(clock.wall), trusted_clock.utc(clock.trusted)
    waits = ", and waits until the clock gets there" if wall < now and clock.credit else ""
    return (
        f"The host's clock says {shown_time(wall)}, but by all that was witnessed it is {shown_time(now)}; that "
        f"is what the keys go by{waits}. Set the clock right or, if it is right, run: salt-call dkim.believe_clock"
    )
