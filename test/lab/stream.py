"""A steady stream of mail from the mail hosts to the client, and what independent verifiers say of all of it."""

KEY_FILE = "/etc/mailserver/rfc2136.key"
RECIPIENT = "world@outside.test"

# Run on a mail host: mail leaves as a program on the host sends it, now for the one domain, now for the other, and each
# message is tried until it is taken. Ends after so many, or when /run/stream-ends appears. The count goes on from what
# its file says already.
SENDER = """
rm -f /run/stream-ends
set -- {domains}
number=$(cat {counter} 2>/dev/null || echo 0)
while [ $number -lt {messages} ] && [ ! -e /run/stream-ends ]; do
  number=$((number + 1))
  until smtp-source -m 1 -f "alice@$1" -t {recipient} -S "stream {tag} $number" 127.0.0.1:25 2>/dev/null; do
    sleep 0.2
  done
  echo $number >{counter}.new && mv {counter}.new {counter}
  first=$1; shift; set -- "$@" "$first"
  sleep {pause}
done
"""

# Run on the client: judge each message of the stream, by dkimpy and by Perl's Mail::DKIM. Without arguments, those that
# lie in the mailbox now. With `watch SECONDS`, each when it has lain there for so long, until /tmp/stream-ends is there
# and nothing is left to judge. Prints counts as JSON; `seconds late` is by how much the latest was judged too late.
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
wait = float(sys.argv[2]) if sys.argv[1:] else 0
counts, judged, arrived = collections.defaultdict(collections.Counter), set(), set()

def judge(files):
    done = subprocess.run(["perl", "-e", PERL, *files], capture_output=True, text=True, check=True).stdout.split()
    for file, perls in zip(files, done, strict=True):
        message = re.sub(rb"\r?\n", b"\r\n", open(file, "rb").read())
        found = re.search(rb"^Subject: stream (\S+) (\d+)", message, re.M)
        if not found:
            continue
        signatures = email.message_from_bytes(message).get_all("DKIM-Signature") or []
        signer = re.search(r"\bd=([^;]+);\s*s=([^;]+)", signatures[0]) if signatures else None
        of = counts[found[1].decode()]
        of["messages"] += found.groups() not in arrived
        arrived.add(found.groups())
        of["unsigned"] += not signatures
        of["failed by dkimpy"] += bool(signatures) and not dkim.verify(message)
        of["failed by Mail::DKIM"] += bool(signatures) and perls != "pass"
        of["signed by " + (" ".join(signer.groups()) if signer else "nobody")] += 1
        of["seconds late"] = max(of["seconds late"], round(time.time() - os.stat(file).st_mtime - wait))

while True:
    no_more = not sys.argv[1:] or os.path.exists("/tmp/stream-ends")
    files = glob.glob("/home/world/Maildir/new/*")
    due = [one for one in files if one not in judged and time.time() >= os.stat(one).st_mtime + wait]
    for start in range(0, len(due), 50):
        judge(due[start : start + 50])
    judged.update(due)
    if no_more and len(judged) == len(files):
        break
    time.sleep(0.2)
print(json.dumps(counts))
"""


def sender(tag, domains, messages=1_000_000, pause=0.05, counter=None):
    """Return the shell script that sends ``messages`` for the ``domains`` in turn, ``pause`` seconds between two.

    :param counter: the file that counts them, and from which a second start goes on; one for the tag, if left out.
    """
    fields = {"tag": tag, "domains": " ".join(domains), "messages": messages, "pause": pause, "recipient": RECIPIENT}
    return SENDER.format(counter=counter or sent_file(tag), **fields)


def sent_file(tag):
    """Return the file that counts what a stream has sent."""
    return f"/run/stream-sent-{tag}"


def signers(counts):
    """Return who signed, of one tag's counts: a set of ``domain selector``."""
    return {name.removeprefix("signed by ") for name in counts if name.startswith("signed by ")}
