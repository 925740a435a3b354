"""How much resident memory 200 concurrent mails of 20 MB each need, from before the first byte until all are prepared.

Resident memory is that of the daemon and of the processes in which it opens documents: the sum of their resident sets
(which counts pages twice that two of them share) and of their proportional ones (which does not), looked at every 50 ms.
"""

import json
import pathlib
import subprocess
import sys
import threading
import time

from lib.bench import descendants, note, table
from lib.daemon import Daemon
from lib.inputs import mail, photo_pdf

MOST = 200
SIZE = 20_000_000
STAGES = ["before", "while mails come in", "while they are prepared", "after"]


def main(bench, options):
    count, size = (20, SIZE // 10) if options.quick else (200, SIZE)
    # What is sent in base64 is larger by 37 %, line ends included.
    content = mail(photo_pdf(int(size / 1.3703)))
    (bench.dir / "mail").write_bytes(content)
    daemon = Daemon(bench, "faxbridge")
    watch = Watch(daemon.process.pid)
    watch.enter(STAGES[0])
    load = [sys.executable, bench.lib / "load.py", daemon.smtp, bench.dir / "mail", count, count, "somebody@fax.bench.test"]
    time.sleep(1)
    watch.enter(STAGES[1])
    began = time.monotonic()
    ran = subprocess.run([str(word) for word in load], check=True, capture_output=True, text=True)
    taken = time.monotonic() - began
    behind = daemon.unprepared()
    watch.enter(STAGES[2])
    daemon.settle(1800)
    prepared = time.monotonic() - began
    watch.enter(STAGES[3])
    time.sleep(2)
    peaks = watch.end()
    result = json.loads(ran.stdout)
    if result["accepted"] != count:
        raise SystemExit(f"{result['accepted']} of {count} mails were accepted: {result['trouble']}")
    daemon.complaints()
    note(f"{taken:.0f} s, {prepared:.0f} s")
    print(
        f"{count} mails of {len(content) / 1e6:.1f} MB at once, all accepted after {taken:.0f} s ({behind} of them not prepared yet), "
        f"all prepared after {prepared:.0f} s.\n"
    )
    base = peaks[STAGES[0]]
    rows = []
    for stage in STAGES:
        peak = peaks[stage]
        raised = [f"{peak[way] - base[way]:+.0f}" for way in ("rss", "pss")]
        rows.append([stage, f"{peak['rss']:.0f}", raised[0], f"{peak['pss']:.0f}", raised[1], f"{peak['daemon']:.0f}", f"{peak['child']:.0f}"])
    heads = ["most", "RSS, MB", "raised", "PSS, MB", "raised", "RSS of the daemon alone, MB", "RSS of its largest child, MB"]
    table(heads, rows)
    raised = max(peaks[stage]["rss"] for stage in STAGES) - base["rss"]
    print(f"Raised by {raised:.0f} MB at most, {MOST} MB are allowed: {'kept' if raised <= MOST else 'BROKEN'}.\n")


class Watch:
    """Looks at the memory of a process and its descendants every 50 ms; keeps the most of each stage."""

    def __init__(self, pid):
        self.pid, self.stage, self.peaks = pid, None, {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def enter(self, stage):
        self.peaks[stage] = {"rss": 0, "pss": 0, "daemon": 0, "child": 0}
        self.stage = stage

    def end(self):
        self.over.set()
        self.thread.join()
        return self.peaks

    def run(self):
        while not self.over.wait(0.05):
            if self.stage:
                peak = self.peaks[self.stage]
                for key, value in self.look().items():
                    peak[key] = max(peak[key], value)

    def look(self):
        sizes = {pid: resident(pid) for pid in descendants(self.pid)}
        rss, pss = (sum(size[nth] for size in sizes.values()) for nth in (0, 1))
        children = [size[0] for pid, size in sizes.items() if pid != self.pid]
        return {"rss": rss, "pss": pss, "daemon": sizes.get(self.pid, (0, 0))[0], "child": max(children, default=0)}


def resident(pid):
    """Resident and proportional set in MB (10^6 bytes)."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines[1:]}
    return sizes.get("Rss", 0), sizes.get("Pss", 0)
