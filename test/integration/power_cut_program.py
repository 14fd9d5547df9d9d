"""Run on a mail host, by Salt's own Python, with a first number and a step: rotations, each killed at another moment.

Both runs of a rotation, the one that makes keys and the one that has them sign, are killed before their first change
of the host, their second, and so on, until one ends by itself; after each, whole runs complete the rotation. A change
of a file below /etc/opendkim, the reload and the probe count. Prints, as JSON, what the killed runs were about to do.
"""

import json
import os
import signal
import sys
import time

import salt.config
import salt.loader

LIMIT = 900
IN_FOLDERS = {"os.rename": 2, "os.remove": 1, "os.mkdir": 2}
"""Events of paths that may be relative to an open folder, and where its descriptor stands."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def functions():
    """Return the minion's execution functions, with nothing but the host itself to ask."""
    opts = salt.config.minion_config("/etc/salt/minion")
    opts["file_client"] = "local"
    opts["grains"] = salt.loader.grains(opts)
    return salt.loader.minion_mods(opts)


def change_of(event, arguments):
    """Return in words what an audit event changes; ``None``: nothing of the host."""
    if event == "subprocess.Popen" and "systemctl" in str(arguments[0]):
        return "reload"
    if event == "socket.connect" and str(arguments[1]).startswith("('127.0.0.1', 8891"):
        return "probe"
    if event == "open" and not (arguments[2] or 0) & WRITES:
        return None
    if event in (
        "open",
        "os.rename",
        "os.remove",
        "os.mkdir",
        "os.chmod",
        "os.chown",
        "os.truncate",
        "shutil.copyfile",
    ):
        path = arguments[0]
        path = path_of(path) if isinstance(path, int) else os.fsdecode(path)
        if event in IN_FOLDERS:
            path = absolute(path, arguments[IN_FOLDERS[event]])
        return f"{event} {path}" if path.startswith("/etc/opendkim") else None
    return None


def path_of(descriptor):
    """Return the path of what is open."""
    return os.readlink(f"/proc/self/fd/{descriptor}")


def absolute(path, folder):
    """Return a path that was given relative to a folder's descriptor, as Python audits it (-1: there is none)."""
    return os.path.join(path_of(folder), path) if folder >= 0 else path


def open_audited(path, flags, mode=0o777, *, dir_fd=None, real=os.open):
    """Open a file, and audit where in an open folder it is, which Python does not."""
    if dir_fd is not None:
        sys.audit("open", absolute(os.fsdecode(path), dir_fd), "", flags)
    return real(path, flags, mode, dir_fd=dir_fd)


def in_child(function, *arguments, kill_at=None, **more):
    """Call a function in a process of its own; what it returned, or what it was about to do when it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        passed = 0

        def watch(event, arguments):
            nonlocal passed
            change = change_of(event, arguments)
            if change is None:
                return
            if passed == kill_at:
                os.write(writing, json.dumps(change).encode())
                os.kill(os.getpid(), signal.SIGKILL)
            passed += 1

        os.open = open_audited
        sys.addaudithook(watch)
        try:
            os.write(writing, json.dumps(function(*arguments, **more)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        told = json.load(file)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return told, code == -signal.SIGKILL


def main(first, step):
    call = functions()

    def ask(name, **more):
        return in_child(call[name], **more)[0]

    def signers():
        return {
            (domain, selector)
            for domain, keys in ask("dkim.status").items()
            for selector, row in keys.items()
            if row["signs"]
        }

    def until(holds, otherwise):
        ends = time.monotonic() + LIMIT
        while not holds():
            if time.monotonic() > ends:
                sys.exit(f"{otherwise}: {json.dumps(ask('dkim.status'))}")
            time.sleep(0.1)

    def complete(before, name):
        if name == "dkim.rotate":
            ask(name)

        def others_sign():
            report = ask("dkim.advance")
            if report["errors"]:
                sys.exit(f"a run after the cut has errors: {report['errors']}")
            return not before & signers()

        until(others_sign, "the successors do not sign")

    def is_ready():
        """Tell whether the next run has a key sign; on a busy machine, one that soaked may do so before the others."""
        stages = [row["stage"] for rows in ask("dkim.status").values() for row in rows.values()]
        if "generated" in stages:
            ask("dkim.advance")
        elif "published" not in stages:
            ask("dkim.rotate")
        return any(change.get("new") for change in ask("dkim.plan")["changes"].values())

    told = {}
    for name in ("dkim.rotate", "dkim.advance"):
        told[name] = []
        number, killed = first, True
        while killed:
            before = signers()
            if name == "dkim.advance":
                ask("dkim.rotate")
                until(is_ready, "DNS does not show the successors")
            change, killed = in_child(call[name], kill_at=number)
            if killed:
                told[name].append(change)
            complete(before, name)
            number += step
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
