"""How many mails a second are taken for good: 100 KB of PDF each, over 1, 20 and 200 sessions, TLS off and on, beside Postfix.

Both answer 250 only when the mail is on disk. The register of faxbridge is empty, so that every job ends held: nothing goes to a
provider. But it opens every document and makes and seals its packet behind the sessions, on the same processors, where
Postfix only queues. What it still has to prepare when the load ends is waited for before the next measurement, and its
processor time is counted with it.

Last of all, 20 sessions for a minute: then faxbridge takes mails and prepares those that it took at the same time.
"""

import json
import statistics
import subprocess
import sys

from lib.bench import Certificate, note, spread, table
from lib.daemon import Daemon
from lib.inputs import mail, photo_pdf
from lib.postfix import Postfix

RECIPIENT = "somebody@fax.bench.test"
SESSIONS = [1, 20, 200]
KEPT = 100
# What a session is: name, arguments of our client. Not Debian's smtp-source: it sends the same bytes each time, without a Message-ID,
# and those are one mail.
WAYS = {
    "off, one mail a session": [],
    "on, one mail a session": ["--tls"],
    f"on, up to {KEPT} mails a session": ["--tls", "--per-session", KEPT],
}
# Seconds.
SUSTAINED = 60


def main(bench, options):
    count = 60 if options.quick else 600
    content = mail(photo_pdf(102_400))
    (bench.dir / "mail").write_bytes(content)
    certificate = Certificate(bench)
    servers = {"Postfix": Postfix(bench, certificate), "faxbridge": Daemon(bench, "faxbridge", certificate=certificate)}
    for server in servers.values():
        measure(bench, [], server, 40, 4)  # First of all: nobody's processes are started, nobody's caches are filled.
    found = {}
    for turn in range(options.rounds or 2):
        for sessions in SESSIONS:
            for way, words in WAYS.items():
                for name, server in list(servers.items())[:: 1 if turn % 2 == 0 else -1]:
                    result = measure(bench, words, server, count, sessions)
                    note(f"TLS {way}, {sessions} sessions, {name}: {result['rate']:.0f}/s")
                    found.setdefault((way, sessions, name), []).append(result)
    sustained = {name: sustain(bench, server, 6 if options.quick else SUSTAINED) for name, server in servers.items()}
    report(found, servers)
    report_sustained(sustained)
    servers["faxbridge"].complaints()


def measure(bench, words, server, count, sessions):
    is_postfix = isinstance(server, Postfix)
    processor = bench.cpu_seconds(server.process)
    before = 0 if is_postfix else server.accepted()
    result = send(bench, words, server.smtp, count, sessions)
    at_the_end = bench.cpu_seconds(server.process) - processor
    behind = 0 if is_postfix else server.unprepared()
    server.settle()
    kept = len(server.queued()) if is_postfix else server.accepted() - before
    if kept != result["accepted"]:
        raise SystemExit(f"{server.dir.name} said 250 to {result['accepted']} mails and keeps {kept}")
    if is_postfix:
        server.empty()
    result["behind"] = behind
    result["taking"] = 1000 * at_the_end / kept
    result["all"] = 1000 * (bench.cpu_seconds(server.process) - processor) / kept
    return result


def sustain(bench, server, seconds):
    result = measure(bench, ["--seconds", seconds], server, 1_000_000, 20)
    note(f"{seconds} s, 20 sessions, {server.dir.name}: {result['rate']:.0f}/s, {result['behind']} behind")
    return result


def send(bench, words, port, count, sessions):
    load = [sys.executable, bench.lib / "load.py", *words, port, bench.dir / "mail", count, sessions, RECIPIENT]
    ran = subprocess.run([str(word) for word in load], check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(ran.stdout)
    if result["trouble"]:
        note(f"port {port}: {result['trouble']}")
    return result


def report(found, servers):
    rows = []
    for way, words in WAYS.items():
        for sessions in SESSIONS:
            peer = statistics.median(result["rate"] for result in found[way, sessions, "Postfix"])
            for name in servers:
                results = found[way, sessions, name]
                rates = [result["rate"] for result in results]
                middle = lambda of: statistics.median(map(of, results))  # noqa: E731
                times, client = ["-", "-"], "-"
                if words is not None:
                    times = [f"{middle(lambda r: r[kind][0]):.1f} / {middle(lambda r: r[kind][1]):.1f}" for kind in ("whole", "answer")]
                    client = f"{middle(lambda r: r['client']):.1f}"
                cost = f"{middle(lambda r: r['taking']):.1f} / {middle(lambda r: r['all']):.1f}"
                behind = f"{middle(lambda r: r['behind']):.0f}"
                ratio = f"{statistics.median(rates) / peer:.2f}"
                rows.append([way, sessions, name, spread(rates), *times, cost, client, behind, ratio])
    print(
        "CPU: until the last 250, and until all that it does with the mails is done. Client: what our client takes from the same "
        "processors. Behind: mails not yet prepared at the last 250.\n"
    )
    heads = ["TLS", "sessions", "server", "mails/s", "MAIL to 250, p50 / p99 ms", "end of mail to 250, p50 / p99 ms"]
    table([*heads, "CPU ms/mail", "client", "behind", "x Postfix"], rows)


def report_sustained(results):
    print(f"\n{SUSTAINED} s over 20 sessions, TLS off, one mail a session:\n")
    rows = []
    for name, result in results.items():
        prepared = "-" if name == "Postfix" else f"{(result['accepted'] - result['behind']) / result['seconds']:.0f}"
        times = [f"{result[kind][0]:.1f} / {result[kind][1]:.1f}" for kind in ("whole", "answer")]
        ratio = f"{result['rate'] / results['Postfix']['rate']:.2f}"
        rows.append([name, f"{result['rate']:.0f}", prepared, *times, f"{result['all']:.1f}", result["behind"], ratio])
    heads = ["server", "mails/s", "of them prepared/s", "MAIL to 250, p50 / p99 ms", "end of mail to 250, p50 / p99 ms"]
    table([*heads, "CPU ms/mail", "behind", "x Postfix"], rows)
