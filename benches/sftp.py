"""Uploads with OpenSSH's client: one file of 500 MB, 1000 files of 50 KB, 20 clients of 50 files each, beside OpenSSH's server.

faxbridge answers the close of a file when it is sealed, synced and committed. OpenSSH's server syncs nothing unless the client
asks for it (`put -f`, once a file), so it stands here twice. What faxbridge does with the files afterwards (it opens each in
a process of its own) begins at once and is waited for before the next measurement.
"""

import os
import statistics
import subprocess
import time

from lib.bench import note, spread, table
from lib.daemon import Daemon
from lib.inputs import photo_pdf
from lib.sshd import Sshd

CIPHERS = ["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"]
CASES = ["one of 500 MB", "1000 of 50 KB", "20 x 50 of 50 KB"]
SMALL = 51_200


def main(bench, options):
    part = 10 if options.quick else 1
    sizes = {"big": 500_000_000 // part, "many": 1000 // part, "clients": 20, "each": 50 // part}
    daemon = Daemon(bench, "faxbridge", submission="1 GB", worker_memory="3 GiB")
    sshd = Sshd(bench, CIPHERS)
    servers = {"sshd": (sshd, "nobody", "put"), "sshd, fsync": (sshd, "nobody", "put -f"), "faxbridge": (daemon, "files", "put")}
    found = {}
    for turn in range(options.rounds or 2):
        for cipher in CIPHERS:
            for case in CASES:
                batches, amount = write_batches(bench.dir / "source", sizes, case)
                for name, (server, user, put) in servers.items():
                    result = measure(bench, batches, server, user, put, cipher)
                    result["rate"] = amount / result["seconds"]
                    found.setdefault((cipher, case, name), []).append(result)
                    note(f"{cipher} {case} {name}: {result['rate']:.0f}")
    report(found, servers)
    daemon.complaints()


def write_batches(folder, sizes, case):
    """Fresh files, so that none is known from an earlier round; for each client the names it puts, and MB or files in all."""
    subprocess.run(["rm", "-rf", folder], check=True)
    folder.mkdir()
    if case == CASES[0]:
        (folder / "big_1.pdf").write_bytes(photo_pdf(sizes["big"]))
        batches, amount = [["big_1.pdf"]], sizes["big"] / 1e6
    else:
        clients, each = (1, sizes["many"]) if case == CASES[1] else (sizes["clients"], sizes["each"])
        batches = [[f"c{client}_{serial}.pdf" for serial in range(each)] for client in range(clients)]
        amount = clients * each
        for name in [name for batch in batches for name in batch]:
            (folder / name).write_bytes(photo_pdf(SMALL))
    # What was just written must not be on its way to the disk while the uploads are.
    os.sync()
    return [[folder / name for name in batch] for batch in batches], amount


def measure(bench, batches, server, user, put, cipher):
    options = {
        "BatchMode": "yes", "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null",
        "GlobalKnownHostsFile": "/dev/null", "IdentitiesOnly": "yes", "LogLevel": "ERROR",
    }  # fmt: skip
    client = ["sftp", "-q", "-F", "none", "-P", str(server.sftp), "-i", str(server.key), "-c", cipher]
    for key, value in options.items():
        client += ["-o", f"{key}={value}"]
    scripts = []
    for nth, batch in enumerate(batches):
        scripts.append(bench.dir / f"batch{nth}")
        scripts[-1].write_text("".join(f"{put} {file} in/{file.name}\n" for file in batch))
    ours = isinstance(server, Daemon)
    before = server.accepted() if ours else 0
    processor = bench.cpu_seconds(server.process)
    with open(bench.dir / "sftp.log", "a") as log:
        began = time.perf_counter()
        running = [subprocess.Popen([*client, "-b", script, f"{user}@127.0.0.1"], stdout=log, stderr=log) for script in scripts]
        codes = [process.wait() for process in running]
        seconds = time.perf_counter() - began
    result = {"seconds": seconds, "processor": bench.cpu_seconds(server.process) - processor}
    uploaded = sum(map(len, batches))
    kept = server.accepted() - before if ours else len(list(server.files.iterdir()))
    if any(codes) or kept != uploaded:
        raise SystemExit(f"{kept} of {uploaded} files arrived, sftp ended with {codes}: {(bench.dir / 'sftp.log').read_text()[-500:]}")
    server.settle() if ours else server.empty()
    return result


def report(found, servers):
    rows = []
    for (cipher, case, name), results in sorted(found.items(), key=lambda item: (item[0][0], CASES.index(item[0][1]), list(servers).index(item[0][2]))):
        rate = lambda of: statistics.median(result["rate"] for result in found[cipher, case, of])  # noqa: E731
        unit = "MB/s" if case == CASES[0] else "files/s"
        processor = statistics.median(result["processor"] for result in results)
        ratios = [f"{rate(name) / rate(peer):.2f}" for peer in ("sshd", "sshd, fsync")]
        rows.append([cipher.split("@")[0], case, name, f"{spread([r['rate'] for r in results])} {unit}", f"{processor:.2f}", *ratios])
    print("CPU: of the server, until the last client ended.\n")
    table(["cipher", "files", "server", "rate", "CPU s", "x sshd", "x sshd, fsync"], rows)
