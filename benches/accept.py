"""How many mails a second are taken for good: 100 KB of PDF each, over 1, 20 and 200 sessions, beside Postfix.

Both answer 250 only when the mail is on disk. The register of faxbridge is empty, so that every job ends held: nothing goes to a
provider. But it opens every document and makes and seals its packet behind the sessions, on the same processors, where
Postfix only queues; with `limits.workers = 1` it does that in one process. What it still has to prepare when the
load ends is waited for before the next measurement, and its processor time is counted with it.
"""

import json
import statistics
import subprocess
import sys
import time

from lib.bench import note, spread, table
from lib.daemon import Daemon
from lib.inputs import TOKEN, mail, photo_pdf
from lib.postfix import Postfix

RECIPIENT = "somebody@fax.bench.test"
SESSIONS = [1, 20, 200]
TOOLS = ["asyncio", "smtp-source"]


def main(bench, options):
    count = 60 if options.quick else 600
    content = mail(photo_pdf(102_400))
    (bench.dir / "mail").write_bytes(content)
    # smtp-source takes lines ended by LF, and cannot give each mail a Message-ID of its own.
    plain = mail(photo_pdf(102_400), message_id=False)
    (bench.dir / "plain").write_bytes(plain.replace(b"\r\n", b"\n"))
    assert TOKEN not in plain
    servers = {
        "Postfix": Postfix(bench),
        "faxbridge": Daemon(bench, "faxbridge"),
        "faxbridge, 1 worker": Daemon(bench, "one-worker", workers=1),
    }
    found = {}
    for _ in range(options.rounds or 3):
        for sessions in SESSIONS:
            for tool in TOOLS:
                for name, server in servers.items():
                    found.setdefault((tool, sessions, name), []).append(measure(bench, tool, name, server, count, sessions))
    report(found, servers)
    for server in list(servers.values())[1:]:
        server.complaints()


def measure(bench, tool, name, server, count, sessions):
    processor = bench.cpu_seconds(server.process)
    before = 0 if name == "Postfix" else server.accepted()
    if tool == "asyncio":
        load = [sys.executable, bench.lib / "load.py", server.smtp, bench.dir / "mail", count, sessions, RECIPIENT]
        ran = subprocess.run([str(word) for word in load], check=True, capture_output=True, text=True)
        result = json.loads(ran.stdout)
        if result["trouble"]:
            note(f"{name}: {result['trouble']}")
    else:
        began = time.perf_counter()
        load = ["smtp-source", "-s", sessions, "-m", count, "-f", "sender@bench.test", "-t", RECIPIENT, "-F", bench.dir / "plain"]
        subprocess.run([str(word) for word in [*load, f"127.0.0.1:{server.smtp}"]], check=True, env={"PATH": "/usr/sbin:/usr/bin"})
        result = {"rate": count / (time.perf_counter() - began), "accepted": count}
    at_the_end = bench.cpu_seconds(server.process) - processor
    behind = 0 if name == "Postfix" else server.unprepared()
    server.settle()
    kept = len(server.queued()) if name == "Postfix" else server.accepted() - before
    if kept != result["accepted"]:
        raise SystemExit(f"{name} said 250 to {result['accepted']} mails and keeps {kept}")
    if name == "Postfix":
        server.empty()
    result["behind"] = behind
    result["processor_taking"] = 1000 * at_the_end / count
    result["processor_all"] = 1000 * (bench.cpu_seconds(server.process) - processor) / count
    note(f"{tool} {sessions} {name}: {result['rate']:.0f}/s")
    return result


def report(found, servers):
    rows = []
    for tool in TOOLS:
        for sessions in SESSIONS:
            peer = statistics.median(result["rate"] for result in found[tool, sessions, "Postfix"])
            for name in servers:
                results = found[tool, sessions, name]
                rate = statistics.median(result["rate"] for result in results)
                middle = lambda of: statistics.median(map(of, results))  # noqa: E731
                times = ["-", "-"]
                if tool == "asyncio":
                    times = [f"{middle(lambda r: r[kind][0]):.1f} / {middle(lambda r: r[kind][1]):.1f}" for kind in ("whole", "answer")]
                cost = f"{middle(lambda r: r['processor_taking']):.1f} / {middle(lambda r: r['processor_all']):.1f}"
                rows.append([tool, sessions, name, spread([r["rate"] for r in results]), *times, cost, f"{middle(lambda r: r['behind']):.0f}", f"{rate / peer:.2f}"])
    print("CPU: until the last 250, and until all that it does with the mails is done. Behind: mails not yet prepared at the last 250.\n")
    heads = ["tool", "sessions", "server", "mails/s", "MAIL to 250, p50 / p99 ms", "end of mail to 250, p50 / p99 ms"]
    table([*heads, "CPU ms/mail", "behind", "x Postfix"], rows)
