"""What every bench needs: a work folder, processes and their end, packages, processor seconds, tables."""

import contextlib
import datetime
import os
import pathlib
import platform
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Bench:
    """A work folder, and the processes started in it: both are gone at the end, whatever happened."""

    def __init__(self, options):
        self.program = options.program.resolve()
        self.keep = options.keep
        self.lib = pathlib.Path(__file__).resolve().parent
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="faxbridge-bench.", dir=options.dir))
        self.dir.chmod(0o755)  # Peers change to other users inside it.
        self.processes = []
        self.groups = {}

    def __enter__(self):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            end(process)
        for group in filter(None, self.groups.values()):
            with contextlib.suppress(OSError):
                group.rmdir()
        if self.keep:
            note(f"kept: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def start(self, name, *command, **more):
        """Starts a process; what it says goes to NAME.log in the work folder."""
        group = control_group(f"{self.dir.name}.{name}")
        if group:
            # Entered before the program begins, so that all its descendants are born into it.
            command = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', group, *command]
        with open(self.dir / f"{name}.log", "ab") as log:
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more)
        self.groups[process.pid] = group
        self.processes.append(process)
        return process

    def cpu_seconds(self, process):
        """Processor seconds of a process started here, and of all that came of it."""
        group = self.groups[process.pid]
        if group and (group / "cpuacct.usage").exists():
            return int((group / "cpuacct.usage").read_text()) / 1e9
        if group:
            return int((group / "cpu.stat").read_text().split()[1]) / 1e6
        # Without the children of children that nobody waited for.
        return sum(sum(map(int, fields[11:15])) for fields in descendants(process.pid).values()) / TICKS

    def end(self, process):
        self.processes.remove(process)
        end(process)


class Certificate:
    """Key and certificate of this run's servers, signed by itself; P-256, as public authorities give them out."""

    def __init__(self, bench):
        packages(openssl="/usr/bin/openssl")
        self.key, self.chain = bench.dir / "tls.key", bench.dir / "tls.pem"
        call = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        call += ["-subj", "/CN=fax.bench.test", "-addext", "subjectAltName=DNS:fax.bench.test", "-keyout", self.key, "-out", self.chain]
        subprocess.run(call, check=True, capture_output=True)
        self.key.chmod(0o600)


def control_group(name):
    """A new control group that counts processor time, where this user may make one."""
    for root in ("/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"):
        if os.access(f"{root}/cgroup.procs", os.W_OK) and (root != "/sys/fs/cgroup" or os.path.exists(f"{root}/cpu.stat")):
            group = pathlib.Path(root, name)
            group.mkdir()
            return group
    return None


def end(process):
    """Ends a process that we started."""
    process.terminate()
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def note(text):
    print(text, file=sys.stderr, flush=True)


def packages(**needed):
    """Installs the Debian packages of what is missing: PACKAGE=FILE, with _ for the - of a name."""
    missing = [package.replace("_", "-") for package, file in needed.items() if not os.path.exists(file)]
    if not missing:
        return
    note(f"installing {' '.join(missing)}")
    if "postfix" in missing:
        answer = b"postfix postfix/main_mailer_type select No configuration\n"
        subprocess.run(["debconf-set-selections"], input=answer, check=True)
    # Package scripts must not start system services.
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*apt, "update"], env=environment, check=True, stdout=sys.stderr)
        install = [*apt, "install", "-y", "--no-install-recommends", *missing]
        subprocess.run(install, env=environment, check=True, stdout=sys.stderr, stdin=subprocess.DEVNULL)
    finally:
        if ours:
            policy.unlink()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, condition, seconds=20.0):
    """Asks until the answer is true, and returns it."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    raise SystemExit(f"{what}: not within {seconds:.0f} s")


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def family():
    """The parent of every process, and its fields of /proc/PID/stat from the third on."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            fields = stat[stat.rindex(")") + 2 :].split()
            yield int(entry), int(fields[1]), fields


def descendants(pid):
    """A process and what descends from it, as {pid: fields}."""
    everybody = list(family())
    found = {}
    todo = [pid]
    while todo:
        parent = todo.pop()
        found.update({child: fields for child, _, fields in everybody if child == parent})
        todo += [child for child, its_parent, _ in everybody if its_parent == parent]
    return found


def sync_cost(folder):
    """Median milliseconds of writing 4 KiB and syncing it."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(60):
            began = time.perf_counter()
            os.write(file.fileno(), b"x" * 4096)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def machine(folder):
    """One line about the machine as it is now."""
    system = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout.strip()
    load = " ".join(f"{part:.1f}" for part in os.getloadavg())
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        f"{now:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {load}, Linux {platform.release()}, file system {system}, "
        f"4 KiB write and sync {sync_cost(folder):.2f} ms"
    )


def table(heads, rows):
    """Prints a Markdown table."""
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


def spread(values, digits=1):
    """Median, least and most."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
