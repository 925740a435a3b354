"""From a mail to a submitted fax with a cover: jobs a second and processor seconds a job, beside HylaFAX and Python scripts.

What each does differs. faxbridge takes the mail over SMTP, keeps it durably, writes the PDF anew, submits it, follows the
call and sends a receipt. The scripts take a file, put cover and document together and submit them to the same provider
(faxbridge's simulator, a process of its own); they keep nothing. HylaFAX's faxmail makes a cover and queues it with the
parts of the mail: nothing is put together, rendered or submitted. A job is done when the provider has taken the fax, or
when it stands in HylaFAX's queue.
"""

import concurrent.futures
import datetime
import json
import resource
import statistics
import subprocess
import sys
import time

from lib.bench import free_port, listens, note, packages, spread, table, wait_until
from lib.daemon import TOKEN, WEBHOOK_KEY, Daemon
from lib.hylafax import Hylafax
from lib.inputs import mail, report10, scan30

# Jobs of each: a script that is started for every mail is slow.
COUNTS = {
    "report10.pdf": {"faxbridge": 200, "script, warm loop": 200, "script per mail": 10, "HylaFAX faxmail": 40},
    "scan30.pdf": {"faxbridge": 60, "script, warm loop": 40, "script per mail": 6, "HylaFAX faxmail": 20},
}
WAYS = ["script, warm loop", "script per mail", "HylaFAX faxmail", "faxbridge"]
ABREAST = [1, 4]
UNFINISHED = {
    "all has ended": "SELECT count(*) FROM submission WHERE final_at IS NULL",
    "all receipts are sent": "SELECT count(*) FROM outbox WHERE next_at IS NOT NULL",
}


def main(bench, options):
    packages(python3_pypdf="/usr/lib/python3/dist-packages/pypdf", python3_requests="/usr/lib/python3/dist-packages/requests")
    packages(postfix="/usr/sbin/smtp-sink")
    report10(bench.dir / "report10.pdf")
    scan30(bench.dir / "scan30.pdf")
    for document in COUNTS:
        pdf = (bench.dir / document).read_bytes()
        (bench.dir / f"{document}.mail").write_bytes(mail(pdf, document))
        ready = mail(pdf, document).replace(b"@TOKEN@", b"1").replace(b"\r\n", b"\n")
        (bench.dir / f"{document}.ready").write_bytes(ready)
    relay = free_port()
    bench.start("relay", "/usr/sbin/smtp-sink", "-u", "nobody", f"127.0.0.1:{relay}", "200")
    stage = Stage(bench)
    # As many numbers as jobs at once: a number is called by one fax at a time.
    recipients = {f"r{nth}": f"+1212555{5000 + nth}" for nth in range(0, 400) if nth % 100 >= 50}
    stage.daemon = Daemon(bench, "faxbridge", provider=stage.url, relay=relay, recipients=recipients)
    stage.recipients = [f"{key}@fax.bench.test" for key in recipients]
    stage.hylafax = Hylafax(bench)
    found = {}
    for _ in range(options.rounds or 2):
        for document, counts in COUNTS.items():
            for abreast in ABREAST:
                for way in WAYS:
                    count = max(abreast, counts[way] // (10 if options.quick else 1))
                    result = stage.measure(way, document, count, abreast)
                    found.setdefault((document, abreast, way), []).append(result)
                    note(f"{document} {abreast} {way}: {result['rate']:.1f}/s")
    stage.daemon.complaints()
    report(found)


class Stage:
    """The provider, and who submits to it."""

    def __init__(self, bench):
        self.bench = bench
        self.record = bench.dir / "provider"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        for name, value in [("sim.token", TOKEN), ("sim.key", WEBHOOK_KEY)]:
            (bench.dir / name).write_text(value)
            (bench.dir / name).chmod(0o600)
        keys = ["--token-file", bench.dir / "sim.token", "--webhook-key-file", bench.dir / "sim.key"]
        listen = ["--listen", f"127.0.0.1:{port}", "--record", self.record, "--call-time", "200"]
        self.process = bench.start("provider", bench.program, "simulator", *listen, *keys)
        wait_until("the provider listens", lambda: listens(port))

    def taken(self):
        """When the provider took each fax so far."""
        calls = self.record / "calls.jsonl"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line for line in lines if '"event":"taken"' in line]

    def measure(self, way, document, count, abreast):
        before, queued = len(self.taken()), self.hylafax.queued()
        servers = {"faxbridge": [self.daemon.process], "HylaFAX faxmail": self.hylafax.processes}.get(way, [])
        cost = lambda: sum(map(self.bench.cpu_seconds, servers)) + (0 if way == "faxbridge" else children())  # noqa: E731
        processor = cost()
        act = {"faxbridge": self.mails, "HylaFAX faxmail": self.faxmail, "script, warm loop": self.loop, "script per mail": self.scripts}[way]
        began = act(document, count, abreast)
        if way == "HylaFAX faxmail":
            ended, done = time.time(), self.hylafax.queued() - queued
        else:
            wait_until("all is submitted", lambda: len(self.taken()) - before >= count, 300)
            done = len(self.taken()) - before
            at = json.loads(self.taken()[before + count - 1])["at"]
            ended = datetime.datetime.fromisoformat(at.rstrip("Z")[:26] + "+00:00").timestamp()
        if done != count:
            raise SystemExit(f"{way}: {done} of {count} jobs were submitted")
        if way == "faxbridge":
            for what, query in UNFINISHED.items():
                wait_until(what, lambda query=query: self.daemon.ask(query) == 0, 300)
        return {"rate": count / (ended - began), "processor": (cost() - processor) / count}

    def mails(self, document, count, abreast):
        load = [sys.executable, self.bench.lib / "load.py", self.daemon.smtp, self.bench.dir / f"{document}.mail", count, abreast]
        ran = subprocess.run([*map(str, load), *self.recipients], check=True, capture_output=True, text=True)
        result = json.loads(ran.stdout)
        if result["accepted"] != count:
            raise SystemExit(f"mails were refused: {result['trouble']}")
        return result["began"]

    def loop(self, document, count, abreast):
        return min(abreast_of(abreast, lambda nth: self.script(document, count // abreast, nth), abreast))

    def scripts(self, document, count, abreast):
        began = time.time()
        abreast_of(abreast, lambda nth: self.script(document, 1, nth), count)
        return began

    def script(self, document, count, nth):
        words = [sys.executable, self.bench.lib / "script.py", self.url, TOKEN, self.bench.dir / f"{document}.ready", count, f"+1212556{5000 + nth}"]
        return float(subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout)

    def faxmail(self, document, count, abreast):
        began = time.time()

        def run(_):
            with open(self.bench.dir / f"{document}.ready", "rb") as letter, open(self.bench.dir / "faxmail.log", "ab") as log:
                words = ["faxmail", "-d", "-N", "Bob@5551212", "sender@bench.test"]
                subprocess.run(words, stdin=letter, stdout=log, stderr=log, env=self.hylafax.environment, check=True)

        abreast_of(abreast, run, count)
        return began


def abreast_of(threads, work, count):
    """Does it `count` times, with so many at once."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(count)))


def children():
    """Processor seconds of all children of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(found):
    rows = []
    for (document, abreast, way), results in found.items():
        rate = lambda of: statistics.median(result["rate"] for result in found[document, abreast, of])  # noqa: E731
        ratios = [f"{rate(way) / rate(peer):.2f}" for peer in WAYS[:3]]
        rows.append([document, abreast, way, spread([r["rate"] for r in results]), f"{statistics.median(r['processor'] for r in results):.3f}", *ratios])
    print("CPU of faxbridge: everything up to the sent receipts. The warm loop's start is left out of its rate.\n")
    table(["document", "at once", "who", "jobs/s", "CPU s/job", *(f"x {peer}" for peer in WAYS[:3])], rows)
