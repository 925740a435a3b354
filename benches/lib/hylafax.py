"""HylaFAX without a modem, in a spool of its own: faxmail queues a mail's documents with hfaxd, and there they wait."""

import os
import pathlib
import shutil
import subprocess

from lib.bench import free_port, listens, packages, wait_until

FOLDERS = "archive bin client config dev docq doneq etc info log pollq recvq sendq status tmp".split()
CONFIG = """CountryCode: 1
AreaCode: 800
LongDistancePrefix: 1
InternationalPrefix: 011
DialStringRules: etc/dialrules
ContCoverPage: etc/cover.templ
"""


class Hylafax:
    """Needs root: hfaxd changes to the owner of the spool."""

    def __init__(self, bench):
        packages(hylafax_server="/usr/sbin/faxq", hylafax_client="/usr/bin/faxmail", ghostscript="/usr/bin/gs", enscript="/usr/bin/enscript")
        self.spool = bench.dir / "hylafax"
        for folder in FOLDERS:
            (self.spool / folder).mkdir(parents=True)
        shutil.copytree("/var/spool/hylafax/bin", self.spool / "bin", symlinks=True, dirs_exist_ok=True)
        for file in ("setup.cache", "setup.modem", "pagesizes", "typerules", "cover.templ", "dialrules"):
            shutil.copy(pathlib.Path("/etc/hylafax", file), self.spool / "etc")
        cache = self.spool / "etc/setup.cache"
        lines = [line for line in cache.read_text().splitlines() if not line.startswith("SPOOL=")]
        cache.write_text("\n".join([f"SPOOL='{self.spool}'", *lines, ""]))
        hosts = self.spool / "etc/hosts.hfaxd"
        hosts.write_text("^.*@127\\.0\\.0\\.1$\n^.*@localhost$\n127.0.0.1\nlocalhost\n")
        (self.spool / "etc/config").write_text(CONFIG)
        (self.spool / "etc/hfaxd.conf").write_text("ServerTracing: 1\n")
        subprocess.run(["chown", "-R", "uucp:uucp", self.spool], check=True)
        subprocess.run(["chown", "-R", "root:root", self.spool / "bin"], check=True)
        for mode, names in {0o755: ["."], 0o1777: ["tmp"], 0o700: ["docq", "sendq", "doneq"], 0o600: ["etc/hosts.hfaxd"]}.items():
            for name in names:
                (self.spool / name).chmod(mode)
        port = free_port()
        queue = bench.start("faxq", "/usr/sbin/faxq", "-D", "-q", self.spool)
        wait_until("faxq is up", (self.spool / "FIFO").is_fifo)
        server = bench.start("hfaxd", "/usr/sbin/hfaxd", "-d", "-q", self.spool, "-l", "127.0.0.1", "-i", port)
        wait_until("hfaxd listens", lambda: listens(port))
        self.processes = [queue, server]
        # The clients read host and port from their user's home.
        (bench.dir / ".hylarc").write_text(f"Host: 127.0.0.1\nPort: {port}\n")
        self.environment = {**os.environ, "HOME": str(bench.dir), "USER": "root", "LOGNAME": "root"}

    def queued(self):
        return len(list((self.spool / "sendq").glob("q*")))
