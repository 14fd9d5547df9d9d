"""Render every SLS and every managed file of the formula as the Salt that runs this would on another system.

    mkdir FOLDER/texts && unshare -m PYTHON render.py FOLDER SYSTEM:PILLAR,PILLAR…

For each system a process of its own sees the system's os-release (test/systems/os-release) as /etc/os-release, and its
debian_version, so that the grains are those that Salt itself computes there. It is forked from the one that this starts
as, which has loaded Salt and copied the formula's modules; and it compiles no template that another one before it has
compiled. What it finds is in FOLDER/SYSTEM.json; there "files" has the SHA-256 of each file that the states would
write, and the content is below FOLDER/texts/ by that name.
"""

import copy
import hashlib
import importlib.util
import inspect
import json
import logging
import marshal
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import jinja2
import salt.config
import salt.loader
import salt.state
import salt.utils.extmods

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
WHOLE = ("mailserver", "mailserver.clean", "mailserver.publisher")
"""What operators assign; what these do not include is rendered by itself."""

ALONE = ("rocky-9", "debian-12")
"""Systems, one of each family, for which each SLS is rendered by itself, too: it must include all that it needs."""

ON_THE_MASTER = {"mailserver.publisher.orchestrate", "mailserver.publisher.reactor"}
"""What the master renders, on whatever system that is."""

SHOWN = ("/etc/os-release", "/etc/debian_version")
"""The second is read of a Debian that has no number in the first: one that is not released yet."""

REQUISITES = ("require", "require_any", "watch", "watch_any", "onchanges", "onchanges_any", "onfail", "prereq")
NETWORK = {"fqdn": "mx1.example.test", "ipv4": ["127.0.0.1", "192.0.2.25"], "ipv6": ["::1", "2001:db8::25"]}
SELINUX = {"enabled": True, "enforced": "Enforcing"}
"""EL as it is installed; this is a property of the running kernel, and so nothing that os-release tells."""


def slses():
    """The names of all SLS files that a minion renders."""
    paths = [path.relative_to(TOP) for path in (TOP / "mailserver").glob("**/*.sls")]
    names = {".".join(path.with_suffix("").parts).removesuffix(".init") for path in paths}
    return sorted(names - ON_THE_MASTER)


def main():
    folder = Path(sys.argv[1])
    logging.disable()  # Salt would log all that it looks at
    with tempfile.TemporaryDirectory() as home:
        opts = options(Path(home))
        for kind in ("modules", "states", "utils"):
            salt.utils.extmods.sync(opts, kind)
        compile_once(Path(home) / "compiled")
        for word in sys.argv[2:]:
            system, _, pillars = word.partition(":")
            child = os.fork()
            if not child:
                try:
                    show(system)
                    found = render(opts, folder, system, pillars.split(","))
                except Exception:
                    found = {"broke": traceback.format_exc()}
                finally:
                    subprocess.run(["umount", *SHOWN], check=False)
                (folder / f"{system}.new").write_text(json.dumps(found, default=str))
                (folder / f"{system}.new").rename(folder / f"{system}.json")
                os._exit(0)
            os.waitpid(child, 0)


def show(system):
    """Have this machine say that it is another system, in the files by which Salt tells."""
    for name, where in zip(("os-release", "debian_version"), SHOWN, strict=True):
        text = HERE / name / system
        subprocess.run(["mount", "--bind", text if text.exists() else os.devnull, where], check=True)


def compile_once(folder):
    """Have Jinja keep the code of each template in ``folder``: compiling is three quarters of what rendering costs."""
    folder.mkdir()
    compile_anew = jinja2.Environment.compile

    def compiled(self, source, *more, **options):
        lexing = (self.trim_blocks, self.lstrip_blocks, self.line_statement_prefix, self.line_comment_prefix)
        made_from = (source, more, options, type(self).__name__, self.keep_trailing_newline, *lexing)
        path = folder / hashlib.sha256(repr(made_from).encode()).hexdigest()
        if not path.exists():
            path.write_bytes(marshal.dumps(compile_anew(self, source, *more, **options)))
        return marshal.loads(path.read_bytes())

    jinja2.Environment.compile = compiled


def render(opts, folder, system, pillars):
    grains = {**salt.loader.grains(opts), **NETWORK}
    if grains["os_family"] == "RedHat":
        grains["selinux"] = SELINUX
    opts["grains"] = grains
    rendered = {name: with_pillar(opts, name, folder, system in ALONE and name == "default") for name in pillars}
    return {"osfinger": grains["osfinger"], "os_family": grains["os_family"], "pillars": rendered}


def options(home):
    """Return a minion's options; its files are the formula's alone, since Salt lists all of them over and over."""
    roots = home / "roots"
    roots.mkdir()
    for name in ("mailserver", "_modules", "_states", "_utils"):
        (roots / name).symlink_to(TOP / name)
    opts = salt.config.minion_config(None)
    folders = {"cachedir": "cache", "extension_modules": "cache/extmods", "pki_dir": "pki", "sock_dir": "sock"}
    opts.update({name: str(home / path) for name, path in folders.items()})
    opts.update(
        id="mx1.example.test",
        conf_file=str(home / "minion"),
        file_client="local",
        file_roots={"base": [str(roots)]},
        pillar_roots={"base": [str(home / "pillar")]},
        enable_gpu_grains=False,
        enable_fqdns_grains=False,
        master_type="disable",
        features={"x509_v2": True},
    )
    return opts


def with_pillar(opts, name, folder, alone):
    """Render the formula for one pillar; return what is wrong with it, and what its settings say of the daemons.

    ``alone``: each SLS by itself, too.
    """
    pillar = Path(opts["pillar_roots"]["base"][0])
    shutil.rmtree(pillar, ignore_errors=True)
    pillar.mkdir()
    (pillar / "top.sls").write_text("base: {'*': [mailserver]}\n")
    shutil.copy(TOP / f"test/salt/pillar/{name}.sls", pillar / "mailserver.sls")
    high = salt.state.HighState({**copy.deepcopy(opts), "pillar": {}})  # Salt would merge it with the one before
    high.state.module_refresh = lambda: None  # what is written here is not for this Salt to load
    seen = note_names(high)
    render_once()
    wrong, written = {}, {}
    with high, tempfile.TemporaryDirectory() as scratch:
        for sls in (*WHOLE, *slses()):
            if sls in seen and sls not in WHOLE:
                continue
            try:
                chunks, wrong[sls] = low_chunks(high, sls)
                for chunk in chunks if sls == "mailserver" else ():
                    written.update(write(high, chunk, Path(scratch), folder / "texts"))
            except Exception:
                wrong[sls] = [traceback.format_exc()]
        by_itself = slses() if alone and not any(wrong.values()) else ()
        alone = {sls: low_chunks(high, sls)[1] for sls in by_itself}
        settings = high.state.functions["mailserver.settings"](high.state.opts["pillar"]["mailserver"], "base")
    return {
        "wrong": {sls: errors for sls, errors in (*wrong.items(), *alone.items()) if errors},
        "rendered": sorted(seen),
        "files": written,
        "settings": {name: settings[name] for name in ("os", "firewalld", "postfix", "selinux", "repositories")},
    }


def note_names(high):
    """Return a set that gets the name of each SLS that Salt renders from now on."""
    seen, for_good = set(), high.render_state

    def render_state(sls, *more, **options):
        seen.add(sls)
        return for_good(sls, *more, **options)

    high.render_state = render_state
    return seen


def render_once(render_anew=salt.state.compile_template):
    """Have Salt keep what it renders of an SLS from now on: with one pillar, each that includes it gets the same."""
    kept = {}

    def compile_template(path, *more, **options):
        if path not in kept:
            kept[path] = render_anew(path, *more, **options)
        return copy.deepcopy(kept[path])

    salt.state.compile_template = compile_template


def low_chunks(high, sls):
    """Return the states that an SLS asks for, in order, and all that Salt would complain of before it ran one."""
    high.building_highstate = type(high.building_highstate)()  # or the SLS before would count as part of this one
    data, errors = high.render_highstate({"base": [sls]})
    state = high.state
    data, more = state.reconcile_extend(data)
    errors += more + state.verify_high(data)
    data, more = state.requisite_in(data)
    errors += more
    if errors:
        return [], errors
    chunks = state.compile_high_data(data)
    if isinstance(chunks, tuple):  # since Salt 3008 with what is wrong about their order
        chunks, more = chunks
        errors += more
    for chunk in chunks:
        errors += unmet(chunk, chunks) + misspelled(chunk)
    return chunks, errors


def unmet(chunk, chunks):
    """Return the requisites of a state that no other state meets."""
    wanted = [pair for kind in REQUISITES for one in chunk.get(kind, ()) for pair in dict(one).items()]
    return [
        f"{chunk['__id__']} wants {kind}: {name}, which is not there"
        for kind, name in wanted
        if not any(meets(other, kind, name) for other in chunks)
    ]


def meets(other, kind, name):
    if kind == "sls":
        return name == other["__sls__"]  # Salt 3006 takes an SLS of mere includes for met, and waits for nothing
    return kind in ("id", other["state"]) and name in (other["__id__"], other["name"])


def misspelled(chunk):
    """Return what is wrong with the function and the arguments of a state, by the function's own signature.

    By its file, since many of Salt's state modules only show themselves where the tools are that they use.
    """
    made = function(chunk["state"], chunk["fun"])
    if made is None:
        return [f"{chunk['__id__']}: there is no state {chunk['state']}.{chunk['fun']}"]
    parameters = inspect.signature(made).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return []
    known = {*parameters, *salt.state.STATE_INTERNAL_KEYWORDS, "reload_modules"}
    return [
        f"{chunk['__id__']}: {chunk['state']}.{chunk['fun']} takes no {name}" for name in chunk if name not in known
    ]


def function(module, name, cache={}):  # noqa: B006 (one for the process)
    if module not in cache:
        files = (
            TOP / f"_states/{module}.py",
            *(Path(salt.__file__).parent / f"states/{module}{end}.py" for end in ("", "_state")),
        )
        path = next(path for path in files if path.exists())
        spec = importlib.util.spec_from_file_location(f"state_{module}", path)
        cache[module] = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(TOP / "_utils"))
        spec.loader.exec_module(cache[module])
    return getattr(cache[module], name, None)


def write(high, chunk, scratch, texts):
    """Have Salt's file.managed write what the state asks for; return the SHA-256 of its content, by its path."""
    if (chunk["state"], chunk["fun"]) not in (("file", "managed"), ("mailserver", "staged")):
        return {}
    chunk, path = {**chunk, "state": "file", "fun": "managed"}, chunk["name"]
    unwanted = (*REQUISITES, "check_cmd", "onlyif", "unless", "user", "group")  # these users are not on this machine
    kept = {name: value for name, value in chunk.items() if name not in unwanted}
    kept.update(name=f"{scratch}{path}", makedirs=True)
    done = high.state.call(kept)
    if not done["result"]:
        raise RuntimeError(f"{path}: {done['comment']}")
    content = Path(done["name"]).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    (texts / digest).write_bytes(content)
    return {path: digest}


if __name__ == "__main__":
    main()
