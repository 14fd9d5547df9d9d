"""Run on `client`: put a Sieve script in force by ManageSieve (RFC 5804), as mail programs do.

sieve_program.py HOST USER PASSWORD SCRIPT [cleartext]: prints what the server answers; with an answer NO it fails.
"""

import base64
import socket
import ssl
import sys

host, user, password, script, *options = sys.argv[1:]
talk = socket.create_connection((host, 4190), 300)


def answer():
    """Return the server's lines up to its OK, NO or BYE."""
    lines = []
    while not lines or not lines[-1].startswith(("OK", "NO", "BYE")):
        octets = b""
        while not octets.endswith(b"\n"):
            octet = talk.recv(1)
            if not octet:
                sys.exit("the server hung up")
            octets += octet
        lines.append(octets.decode().rstrip())
    print("\n".join(lines))
    if not lines[-1].startswith("OK"):
        sys.exit(1)


def ask(text):
    talk.sendall(f"{text}\r\n".encode())
    answer()


answer()
if "cleartext" not in options:
    ask("STARTTLS")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the hosts' certificates are self-signed
    talk = context.wrap_socket(talk)
    answer()
ask(f'AUTHENTICATE "PLAIN" "{base64.b64encode(f"{chr(0)}{user}{chr(0)}{password}".encode()).decode()}"')
ask(f'PUTSCRIPT "own" {{{len(script)}+}}\r\n{script}')
ask('SETACTIVE "own"')
