"""The file systems that the hosts boot from: built once, cached by what they hold, never written to afterwards."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mailserver-lab"
STATE = Path("/var/lib/mailserver-lab")
"""Where the booted hosts' own files are, a folder a lab."""
MIRROR = os.environ.get("LAB_MIRROR", "http://deb.debian.org/debian")
ESSENTIAL = "systemd,systemd-sysv,dbus,python3,python3-venv,iproute2,procps,ca-certificates,libnss-myhostname"
VENV = "/opt/saltstack/salt"
PASSED_ON = ("PIP_INDEX_URL", "http_proxy", "https_proxy", "no_proxy")
EXTRAS = ("dnspython", "dkimpy", "pyspf", "pynacl", "publicsuffixlist", "authheaders")


class LabError(Exception):
    """The lab cannot do what was asked; the message says what is missing or went wrong."""


@dataclass(frozen=True)
class Release:
    """A Debian release, and the Salt version that its hosts run.

    ``python``: the source package of the Python that Salt runs on, and the release that has it, where the release's own
    Python is older than any that Salt's packages bring along. ``apt``: what apt must be told to read its repository.
    """

    name: str
    salt: str
    python: tuple = ()
    apt: str = ""


RELEASES = {
    release.name: release
    for release in (
        Release("bullseye", "3006.28", python=("python3.11", "bookworm")),
        Release("bookworm", "3006.28"),
        Release("trixie", "3008.3"),
        # Not released yet: its repository is valid for a week, and a mirror may be behind by more.
        Release("forky", "3008.3", apt='Acquire::Check-Valid-Until "false"'),
    )
}


@dataclass(frozen=True)
class Base:
    """What hosts of one kind share: overlay layers (topmost first), the package repository and the wheels."""

    layers: tuple
    packages: Path
    wheels: Path


def say(started, text):
    print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)


def run(*words, **options):
    """Run a command; raise :class:`LabError` with the end of its output if it fails."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(words, text=True, check=False, **streams, **options)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise LabError(f"this failed with exit status {done.returncode}: {' '.join(map(str, words))}\n{tail}")
    return done.stdout


def build_all(kinds, started):
    """Build what is not cached for ``kinds``, pairs of a release and a role: the releases at the same time."""
    releases = {release for release, _role in kinds}
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda release: [base_for(*kind, started) for kind in kinds if kind[0] == release], releases))


def base_for(release_name, role, started):
    """Return the :class:`Base` of hosts of ``role`` on a release; build what is not cached, one builder at a time."""
    release = RELEASES[release_name]
    CACHE.mkdir(parents=True, exist_ok=True)
    with _lock(CACHE / f"{release_name}.lock"):
        builder = _Builder(release, started)
        root = builder.root()
        below = (builder.python(root), root) if release.python else (root,)
        wheels = builder.wheels(below)
        layers = (builder.layer("salt", below, _salt_script(release), binds={"/srv/wheels": wheels}), *below)
        packages = builder.packages(layers)
        if role:
            script = (HERE / "roles" / f"{role}.sh").read_text()
            binds = {"/srv/packages": packages, "/srv/wheels": wheels}
            layers = (builder.layer(role, layers, script, binds=binds), *layers)
        return Base(layers, packages, wheels)


def remove_leftovers():
    """Unmount and remove what builders left that were killed; those at work are let be."""
    for release in RELEASES:
        if not CACHE.exists():
            return
        with (CACHE / f"{release}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            for kind in ("top", "building", "upper", "work"):
                for leftover in CACHE.glob(f"{release}-*.{kind}"):
                    unmount_below(leftover)
                    shutil.rmtree(leftover, ignore_errors=True)


def unmount_below(folder):
    """Unmount all that is mounted at or below ``folder``, the innermost first."""
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in reversed([place for place in places if place == str(folder) or place.startswith(f"{folder}/")]):
        run("umount", "-l", place)


def minimal_system(release, packages, target, mirror=MIRROR):
    """Make a file system of a :class:`Release` in ``target``, with ``packages`` (their names, with commas between)."""
    told = [f"--aptopt={release.apt}"] if release.apt else []
    words = ("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", *told)
    run(*words, release.name, target, mirror)


class _Builder:
    def __init__(self, release, started):
        self.release, self.started = release, started

    def root(self):
        """The minimal Debian, with systemd and Python."""

        def build(target):
            minimal_system(self.release, ESSENTIAL, target)
            for path in ("etc/hostname", "etc/resolv.conf", "etc/machine-id"):
                (target / path).unlink(missing_ok=True)
            (target / "etc/machine-id").write_text("")

        return self._cached("root", ESSENTIAL + MIRROR + self.release.apt, build, "a minimal system")

    def python(self, root):
        """CPython, built from another release's source package, at the place where Salt's packages have theirs."""
        script = _python_script(*self.release.python)

        def build(target):
            with mounted((root,), target.with_suffix(".upper")) as top, online(top):
                chroot(top, script)
                shutil.move(top / "tmp/made", target)
            shutil.rmtree(target.with_suffix(".upper"))

        return self._cached("python", script + root.name, build, "{} of {}".format(*self.release.python))

    def wheels(self, layers):
        """Salt, and the Python packages that the hosts install, as wheels for the Python that Salt runs on."""
        wanted = [f"salt=={self.release.salt}", *EXTRAS]

        def build(target):
            with mounted(layers, target.with_suffix(".upper")) as top, online(top):
                chroot(top, "apt-get update -qq")
                chroot(top, "apt-get install -qq -y --no-install-recommends gcc python3-dev libc6-dev")
                python = f"{VENV}/bin/python3" if self.release.python else "python3"
                chroot(top, f"{python} -m venv /tmp/builder && /tmp/builder/bin/pip install -q wheel setuptools")
                chroot(top, "/tmp/builder/bin/pip wheel -q -w /tmp/wheels pip setuptools wheel " + " ".join(wanted))
                shutil.move(top / "tmp/wheels", target)
            shutil.rmtree(target.with_suffix(".upper"))

        content = str(wanted) + "".join(layer.name for layer in layers)
        return self._cached("wheels", content, build, f"Salt {self.release.salt} as wheels")

    def packages(self, layers):
        """A repository of the packages that the formula's states install, with all that they depend on."""
        names = _package_names(self.release.name)

        def build(target):
            with mounted(layers, target.with_suffix(".upper")) as top, online(top):
                (top / "etc/apt/sources.list").write_text(f"deb {MIRROR} {self.release.name} main\n")
                chroot(top, "apt-get update -qq && apt-get install -qq -y --download-only " + " ".join(names))
                debs = top / "var/cache/apt/archives"
                shutil.copytree(debs, target, ignore=shutil.ignore_patterns("lock", "partial"))
            shutil.rmtree(target.with_suffix(".upper"))
            (target / "Packages").write_text("\n".join(_stanza(deb) for deb in sorted(target.glob("*.deb"))))

        return self._cached("packages", str(names) + layers[0].name, build, f"{len(names)} packages and what they need")

    def layer(self, name, layers, script, binds):
        """What ``script`` changes on top of ``layers``."""

        def build(target):
            with mounted(layers, target) as top, bound(top, binds):
                chroot(top, script)

        content = script + "".join(path.name for path in (*layers, *binds.values()))
        return self._cached(name, content, build, f"the layer {name}")

    def _cached(self, kind, content, build, what):
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        ready = CACHE / f"{self.release.name}-{kind}-{digest}"
        if not ready.exists():
            say(self.started, f"{self.release.name}: building {what}")
            rough = CACHE / f"{ready.name}.building"
            for leftover in (rough.with_suffix(".top"), rough, rough.with_suffix(".upper"), rough.with_suffix(".work")):
                unmount_below(leftover)
                shutil.rmtree(leftover, ignore_errors=True)
            build(rough)
            shutil.rmtree(rough.with_suffix(".work"), ignore_errors=True)
            rough.rename(ready)
        return ready


def _python_script(package, release):
    return f"""
echo 'deb-src {MIRROR} {release} main' >/etc/apt/sources.list.d/source.list
apt-get update -qq
apt-get install -qq -y --no-install-recommends gcc libc6-dev make libssl-dev zlib1g-dev libffi-dev libbz2-dev \\
  liblzma-dev libsqlite3-dev uuid-dev
mkdir /tmp/source && cd /tmp/source
apt-get source -qq --download-only {package}
# Without Debian's patches, which have pip install to where this Python does not look.
tar -xf {package}_*.orig.tar.* --strip-components=1
./configure -q --prefix={VENV} --disable-test-modules --without-static-libpython OPT='-DNDEBUG -fwrapv -O2'
make -s -j$(nproc)
make -s install DESTDIR=/tmp/made
ln -s python3 /tmp/made{VENV}/bin/python
ln -sf pip3 /tmp/made{VENV}/bin/pip
"""


def _salt_script(release):
    make_venv = "" if release.python else f"python3 -m venv {VENV}\n"
    return f"""set -e
{make_venv}{VENV}/bin/pip install -q --no-index --find-links /srv/wheels salt=={release.salt}
for name in salt salt-call salt-key salt-master salt-minion salt-run salt-ssh; do
  ln -s {VENV}/bin/$name /usr/bin/$name
done
mkdir -p /etc/salt /var/log/salt
for role in master minion; do
  cat >/etc/systemd/system/salt-$role.service <<END
[Unit]
Description=Salt $role
After=network.target

[Service]
Type=notify
NotifyAccess=all
ExecStart=/usr/bin/salt-$role
KillMode=process
LimitNOFILE=100000

[Install]
WantedBy=multi-user.target
END
done
systemctl enable -q salt-minion
systemctl mask -q systemd-resolved systemd-networkd systemd-timesyncd apt-daily.timer apt-daily-upgrade.timer \\
  dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-logind getty@tty1 console-getty systemd-networkd.socket
# What a container does not have, or has no use for: a host that is degraded has a fault of its own.
systemctl mask -q systemd-ask-password-console.path systemd-ask-password-wall.path dev-mqueue.mount \\
  dev-hugepages.mount tmp.mount
cat >/etc/pip.conf <<END
[global]
no-index = true
find-links = /srv/wheels
disable-pip-version-check = true
END
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/lab
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/packages ./' >/etc/apt/sources.list
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
"""


def _package_names(release_name):
    lines = (line.partition("#")[0].split() for line in (HERE / "packages.txt").read_text().splitlines())
    return [words[0] for words in lines if words and release_name in (words[1:] or [release_name])]


def _stanza(deb):
    control = run("dpkg-deb", "-f", deb).rstrip("\n")
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    return f"{control}\nFilename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"


def chroot(top, script):
    """Run a shell script in the file system ``top``, with no daemon started by what it installs."""
    policy = top / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "PIP_CERT": "/etc/ssl/certs/ca-certificates.crt",  # where only Debian's own pip looks by itself
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
    }
    try:
        with bound(top, {"/proc": Path("/proc"), "/dev": Path("/dev")}):
            run("chroot", top, "sh", "-ec", script, env=environment)
    finally:
        policy.unlink()


@contextlib.contextmanager
def online(top):
    """Lend the file system the machine's name resolution and certificates while it is built."""
    bundle = next((Path(p) for p in (os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt") if p), None)
    kept = {}
    lent = {"etc/resolv.conf": Path("/etc/resolv.conf"), "etc/ssl/certs/ca-certificates.crt": bundle}
    for inside, source in lent.items():
        target = top / inside
        kept[target] = target.read_bytes() if target.exists() else None
        target.write_bytes(source.read_bytes())
    try:
        yield
    finally:
        for target, content in kept.items():
            target.unlink()
            if content is not None:
                target.write_bytes(content)


@contextlib.contextmanager
def bound(top, binds):
    """Bind folders of the machine into the file system ``top``."""
    made = []
    try:
        for inside, source in binds.items():
            place = top / inside.lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            run("mount", "--bind", source, place)
            made.append(place)
        yield
    finally:
        for place in reversed(made):
            run("umount", place)


@contextlib.contextmanager
def mounted(layers, upper):
    """Mount an overlay whose changes go to ``upper``."""
    top, work = upper.with_suffix(".top"), upper.with_suffix(".work")
    for folder in (upper, top, work):
        folder.mkdir(parents=True, exist_ok=True)
    overlay(layers, upper, work, top)
    try:
        yield top
    finally:
        run("umount", top)
        top.rmdir()
        shutil.rmtree(work, ignore_errors=True)


def overlay(layers, upper, work, top):
    lower = ":".join(str(layer) for layer in layers)
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", top)


@contextlib.contextmanager
def _lock(path):
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
