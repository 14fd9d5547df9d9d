"""A steady stream of mail from the mail hosts to the client, and what independent verifiers say of all of it."""

KEY_FILE = "/etc/mailserver/rfc2136.key"
RECIPIENT = "world@outside.test"

# Run on a mail host: mail leaves as a program on the host sends it, now for the one domain, now for the other, and each
# message is tried until it is taken. Ends after so many, or when /run/stream-ends appears; /run/stream-sent counts.
SENDER = """
rm -f /run/stream-ends
set -- {domains}
number=0
while [ $number -lt {messages} ] && [ ! -e /run/stream-ends ]; do
  number=$((number + 1))
  until smtp-source -m 1 -f "alice@$1" -t {recipient} -S "stream {tag} $number" 127.0.0.1:25 2>/dev/null; do
    sleep 0.2
  done
  echo $number >/run/stream-sent
  first=$1; shift; set -- "$@" "$first"
  sleep {pause}
done
"""

# Run on the client: judge each message of the stream, by dkimpy and by Perl's Mail::DKIM. With `watch`, each as soon as
# it arrives, until /tmp/stream-ends appears; else all that lie in the mailbox now. Prints counts as JSON.
JUDGES = r"""
import collections, email, glob, json, os, re, subprocess, sys, time
import dkim
PERL = r'''use Mail::DKIM::Verifier;
for my $file (@ARGV) {
  open my $in, "<:raw", $file;
  my $text = do { local $/; <$in> };
  $text =~ s/\r?\n/\r\n/g;
  my $verifier = Mail::DKIM::Verifier->new;
  $verifier->PRINT($text);
  $verifier->CLOSE;
  print $verifier->result, "\n";
}'''
counts, seen, arrived = collections.defaultdict(collections.Counter), set(), set()

def judge(files):
    done = subprocess.run(["perl", "-e", PERL, *files], capture_output=True, text=True, check=True).stdout.split()
    for file, perls in zip(files, done, strict=True):
        message = re.sub(rb"\r?\n", b"\r\n", open(file, "rb").read())
        found = re.search(rb"^Subject: stream (\S+) (\d+)", message, re.M)
        if not found:
            continue
        signatures = email.message_from_bytes(message).get_all("DKIM-Signature") or []
        signer = re.search(r"\bd=([^;]+);\s*s=([^;]+)", signatures[0]) if signatures else None
        of, number = counts[found[1].decode()], found[2]
        of["messages"] += (found[1], number) not in arrived
        arrived.add((found[1], number))
        of["unsigned"] += not signatures
        of["failed by dkimpy"] += bool(signatures) and not dkim.verify(message)
        of["failed by Mail::DKIM"] += bool(signatures) and perls != "pass"
        of["signed by " + (" ".join(signer.groups()) if signer else "nobody")] += 1

while True:
    ends = "watch" not in sys.argv or os.path.exists("/tmp/stream-ends")
    new = [one for one in glob.glob("/home/world/Maildir/new/*") if one not in seen]
    for start in range(0, len(new), 50):
        judge(new[start : start + 50])
    seen.update(new)
    if ends:
        break
    time.sleep(0.2)
print(json.dumps(counts))
"""


def sender(tag, domains, messages=1_000_000, pause=0.05):
    """Return the shell script that sends ``messages`` for the ``domains`` in turn, ``pause`` seconds between two."""
    return SENDER.format(tag=tag, domains=" ".join(domains), messages=messages, pause=pause, recipient=RECIPIENT)


def signers(counts):
    """Return who signed, of one tag's counts: a set of ``domain selector``."""
    return {name.removeprefix("signed by ") for name in counts if name.startswith("signed by ")}
