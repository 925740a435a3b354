"""A faxbridge of our own: its configuration, its register, its ways in, and whether it is done."""

import json
import os
import sqlite3
import subprocess

from lib.bench import note, wait_until

CONFIG = """
[organization]
name = "Bench"
country = "US"
time_zone = "America/New_York"
phone = "+1 212 555 0100"

[store]
data_dir = "{dir}/data"
master_key = "file:{dir}/master.key"

[limits]
submission = "{submission}"
worker_memory = "{worker_memory}"
{workers}

[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.bench.test"
{tls}

[sftp]
listen = ["127.0.0.1:0"]
# All clients of a bench come from one address, and twenty of them at once.
gateways = ["127.0.0.1"]

[[sender]]
name = "bench"
addresses = ["sender@bench.test"]
networks = ["127.0.0.0/8"]

[[sender]]
name = "files"
sftp_user = "files"
sftp_keys = ["{key}"]

[[rule]]
name = "named recipient"
source = "smtp"
to = "{{recipient}}@fax.bench.test"
body_on_cover = true

[[rule]]
name = "files"
source = "sftp:files"
file = "{{recipient}}_{{serial}}.pdf"

[provider.simulator]
kind = "simulator"
url = "{provider}"
token = "file:{dir}/provider.token"
webhook_key = "file:{dir}/webhook.key"

[webhook]
listen = "127.0.0.1:0"

[receipt]
relay = "127.0.0.1:{relay}"
tls = "none"
from = "fax@bench.test"

[telemetry]
log = "warn"
"""
TOKEN = "bench"
WEBHOOK_KEY = "0123456789abcdef0123456789abcdef"
# Of a loopback port on which nobody listens.
NOBODY = 9


class Daemon:
    """A running faxbridge. `recipients` are entered into its register and verified; all other keys stay held."""

    def __init__(self, bench, name, *, workers=None, submission="50 MiB", worker_memory="1 GiB", provider=None, relay=NOBODY, recipients=(), certificate=None):
        self.bench = bench
        self.dir = bench.dir / name
        self.dir.mkdir()
        self.key = self.dir / "sftp.key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        public = " ".join(self.key.with_suffix(".key.pub").read_text().split()[:2])
        for file, content in [("master.key", os.urandom(32)), ("provider.token", TOKEN.encode()), ("webhook.key", WEBHOOK_KEY.encode())]:
            (self.dir / file).write_bytes(content)
            (self.dir / file).chmod(0o600)
        self.config = self.dir / "faxbridge.toml"
        text = CONFIG.format(
            dir=self.dir,
            key=public,
            submission=submission,
            worker_memory=worker_memory,
            workers="" if workers is None else f"workers = {workers}",
            provider=provider or f"http://127.0.0.1:{NOBODY}",
            relay=relay,
            tls=f'tls_certificate = "{certificate.chain}"\ntls_key = "{certificate.key}"' if certificate else "",
        )
        self.config.write_text(text)
        self.enter(recipients)
        self.process = bench.start(name, bench.program, "serve", "--config", self.config)
        addresses = json.loads(wait_until(f"{name} is up", self.addresses))
        self.smtp, self.sftp = (int(addresses[way][0].rsplit(":", 1)[1]) for way in ("smtp", "sftp"))

    def addresses(self):
        if self.process.poll() is not None:
            raise SystemExit((self.bench.dir / f"{self.dir.name}.log").read_text())
        file = self.dir / "data/addresses.json"
        return file.read_text() if file.exists() else None

    def enter(self, recipients):
        """Enters {key: number} into the register, as its keepers do."""
        if not recipients:
            return
        sheet = self.dir / "recipients.csv"
        sheet.write_text("key,name,number\n" + "".join(f"{key},Recipient {key},{number}\n" for key, number in recipients.items()))
        self.faxbridge("recipient", "import", sheet)
        for key in recipients:
            self.faxbridge("recipient", "verify", key, "--how", "call-back", "--evidence", "bench", "--by", "bench")

    def faxbridge(self, command, *words):
        call = [self.bench.program, command, "--config", self.config, *words]
        subprocess.run(call, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(self, query):
        """One number out of its database, which it alone writes."""
        with sqlite3.connect(f"file:{self.dir}/data/faxbridge.db?mode=ro", uri=True, timeout=30) as database:
            return database.execute(query).fetchone()[0]

    def accepted(self):
        return self.ask("SELECT count(*) FROM submission")

    def unprepared(self):
        return self.ask("SELECT count(*) FROM submission WHERE prepare_at IS NOT NULL")

    def settle(self, seconds=600):
        """Waits until everything that was accepted is prepared."""
        wait_until("all is prepared", lambda: self.unprepared() == 0, seconds)

    def held(self):
        return self.ask("SELECT count(*) FROM job WHERE state = 'held'")

    def complaints(self):
        """What its log has more than once, shortened: a bench of refusals would look fast."""
        lines = (self.bench.dir / f"{self.dir.name}.log").read_text(errors="replace").splitlines()
        errors = [line for line in lines if " ERROR " in line or "panicked" in line]
        if errors:
            note(f"{len(errors)} errors in the log of {self.dir.name}, the first: {errors[0][:300]}")
