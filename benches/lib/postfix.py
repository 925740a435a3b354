"""Postfix with a configuration and queue of its own: it takes mails, syncs them, and keeps them (every delivery is deferred)."""

import pathlib
import shutil
import subprocess

from lib.bench import free_port, listens, packages, wait_until

MAIN = """
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {dir}/mail.log
maillog_file_prefixes = {dir}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = peer.bench.test
mydestination =
local_recipient_maps =
local_transport = error:no
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
relay_domains = fax.bench.test
relay_transport = discard:
default_transport = discard:
defer_transports = discard
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_peername_lookup = no
message_size_limit = 104857600
mailbox_size_limit = 0
queue_minfree = 0
default_process_limit = 300
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
maximal_queue_lifetime = 1d
minimal_backoff_time = 1d
maximal_backoff_time = 1d
queue_run_delay = 1d
fast_flush_domains =
"""
TLS = """
smtpd_tls_security_level = may
smtpd_tls_chain_files = {certificate.key}, {certificate.chain}
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 86400 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
proxymap  unix - - n - - proxymap
tlsmgr    unix - - n 1000? 1 tlsmgr
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
anvil     unix - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    def __init__(self, bench, certificate):
        packages(postfix="/usr/lib/postfix/sbin/master")
        self.dir = bench.dir / "postfix"
        self.smtp = free_port()
        for folder in ("conf", "queue", "data"):
            (self.dir / folder).mkdir(parents=True)
        shutil.chown(self.dir / "data", "postfix")
        (self.dir / "conf/main.cf").write_text(MAIN.format(dir=self.dir) + TLS.format(certificate=certificate))
        (self.dir / "conf/master.cf").write_text(MASTER.format(port=self.smtp))
        subprocess.run(["/usr/sbin/postfix", "-c", self.dir / "conf", "check"], check=True, capture_output=True)
        # Attached to us, but leader of a session: it ends its children by their process group.
        master = ["/usr/lib/postfix/sbin/master", "-d", "-c", self.dir / "conf"]
        environment = {"MAIL_CONFIG": str(self.dir / "conf"), "MAIL_LOGTAG": "postfix", "PATH": "/usr/sbin:/usr/bin"}
        self.process = bench.start("postfix", *master, env=environment, start_new_session=True)
        wait_until("Postfix listens", lambda: listens(self.smtp))

    def queued(self):
        return [file for part in ("incoming", "active", "deferred") for file in (self.dir / "queue" / part).rglob("*") if file.is_file()]

    def settle(self):
        """Waits until everything lies in the deferred queue."""
        wait_until("Postfix has deferred all", lambda: all("deferred" in file.parts for file in self.queued()), 120)

    def empty(self):
        for file in [*self.queued(), *pathlib.Path(self.dir, "queue/defer").rglob("*")]:
            if file.is_file():
                file.unlink(missing_ok=True)
