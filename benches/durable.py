"""Whether each 250 really comes after the disk has what it promises: every call of faxbridge to the system is looked at (strace).

For each mail it must have ended, before the answer is written and after the last byte was: the sync of the mail's file, that of the
file's folder, and that of the database's log behind the row that names the file. Its speed under strace means nothing.
"""

import json
import re
import sqlite3
import subprocess
import sys

from lib.bench import packages, table
from lib.daemon import Daemon
from lib.inputs import mail, photo_pdf

SIZES = [2_000, 100_000, 1_000_000]
CALL = re.compile(r"^(?P<pid>\d+) +(?:(?P<name>\w+)\((?P<words>.*)|<\.\.\. (?P<resumed>\w+) resumed>(?P<rest>.*))$")
PATH = re.compile(r"^\w+<(?P<path>[^>]*)>")
SYNCS = ("fsync", "fdatasync")
WRITES = ("write", "writev", "pwrite64", "sendto", "sendmsg")


def main(bench, options):
    packages(strace="/usr/bin/strace")
    daemon = Daemon(bench, "faxbridge")
    count = 5 if options.quick else 20
    trace = bench.dir / "trace"
    tracer = bench.start("strace", "strace", "-f", "-y", "-s", 200, "-e", f"trace=openat,{','.join(SYNCS + WRITES)}", "-o", trace, "-p", daemon.process.pid)
    rows = []
    for size in SIZES:
        (bench.dir / "mail").write_bytes(mail(photo_pdf(size)))
        for sessions in (1, 5):
            load = [sys.executable, bench.lib / "load.py", daemon.smtp, bench.dir / "mail", count, sessions, "somebody@fax.bench.test"]
            ran = subprocess.run([str(word) for word in load], check=True, stdout=subprocess.PIPE, text=True)
            rows.append([size, sessions, json.loads(ran.stdout)["accepted"]])
    bench.end(tracer)
    with sqlite3.connect(f"file:{daemon.dir}/data/faxbridge.db?mode=ro", uri=True, timeout=30) as database:
        names = dict(database.execute("SELECT submission_id, name FROM document WHERE job_id IS NULL"))
    found = list(judge(trace, names))
    table(["mail, bytes of its PDF", "sessions", "250"], rows)
    wrong = [f"{submission}: {fault}" for submission, fault in found if fault]
    print(f"{len(found)} answers of 250 seen, {len(found) - len(wrong)} of them after all three syncs.\n")
    if wrong or len(found) != sum(row[2] for row in rows):
        raise SystemExit("\n".join(wrong) or "answers were missed")


def judge(trace, names):
    """Each Submission that was answered for, and what was missing then; None where nothing was."""
    files = {}  # path: what was done to it, by the number of its line
    started = {}
    for number, line in enumerate(trace.read_text(errors="replace").splitlines()):
        call = CALL.match(line)
        if not call:
            continue
        if call["resumed"]:
            began, name, words = started.pop((call["pid"], call["resumed"]), (None, "", ""))
            words += call["rest"]
        else:
            began, name, words = number, call["name"], call["words"]
        path = PATH.match(words)
        path = path["path"] if path else ""
        answer = re.search(r'"250 2\.0\.0 accepted as (\w+)', words)
        if not call["resumed"] and name in WRITES and answer:
            yield answer[1], fault(files, names.get(answer[1]))
        if words.endswith("<unfinished ...>"):
            # A write counts from its beginning, a sync from its end.
            started[call["pid"], name] = (number, name, words)
        if began is None or not words:
            continue
        does = files.setdefault(path, {"made": -1, "written": -1, "synced": (-1, -1)})
        if name in SYNCS and re.search(r"\) += 0$", words):
            does["synced"] = max(does["synced"], (began, number))
        elif name in WRITES:
            does["written"] = number
        elif name == "openat" and "O_CREAT" in words and (made := re.search(r"= \d+<([^>]*)>$", words)):
            files.setdefault(made[1], {"made": -1, "written": -1, "synced": (-1, -1)})["made"] = number


def fault(files, name):
    if name is None:
        return "no row names its file"
    path = next((path for path in files if path.endswith("/" + name)), None)
    if path is None:
        return "its file was never written"
    file = files[path]
    folder = files.get(path.rsplit("/", 1)[0])
    log = next((does for path, does in files.items() if path.endswith("/faxbridge.db-wal")), None)
    if file["synced"][0] <= file["written"]:
        return "its file is not synced"
    if folder is None or folder["synced"][0] <= file["made"]:
        return "the entry of its file is not synced"
    # The row is written after the file is: no answer before a sync of the log that began after that.
    if log is None or log["synced"][0] <= file["synced"][1]:
        return "no sync of the database's log"
    return None
