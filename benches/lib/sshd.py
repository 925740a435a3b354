"""OpenSSH's own server: its SFTP only, host key and configuration of its own, user nobody in a folder of its own."""

import os
import shutil
import subprocess

from lib.bench import free_port, listens, packages, wait_until

CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {dir}/hostkey
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthorizedKeysFile {dir}/userkey.pub
AllowUsers nobody
UseDNS no
MaxStartups 500
MaxSessions 500
DisableForwarding yes
Subsystem sftp internal-sftp
ForceCommand internal-sftp
ChrootDirectory /mnt
Ciphers {ciphers}
LogLevel ERROR
"""


class Sshd:
    user = "nobody"

    def __init__(self, bench, ciphers):
        packages(openssh_server="/usr/sbin/sshd", openssh_sftp_server="/usr/lib/openssh/sftp-server", openssh_client="/usr/bin/sftp")
        self.dir = bench.dir / "sshd"
        self.files = self.dir / "root/in"
        self.files.mkdir(parents=True)
        shutil.chown(self.files, "nobody")
        os.makedirs("/run/sshd", exist_ok=True)
        self.sftp = free_port()
        self.key = self.dir / "userkey"
        for name in ("hostkey", "userkey"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.dir / name], check=True)
        (self.dir / "sshd_config").write_text(CONFIG.format(port=self.sftp, dir=self.dir, ciphers=",".join(ciphers)))
        # sshd refuses a root below a folder that everybody may write to: ours is bound to /mnt, in a mount namespace of its own.
        inside = 'mount --bind "$1" /mnt && exec /usr/sbin/sshd -D -e -f "$2"'
        space = ["unshare", "-m", "--propagation", "private", "sh", "-c", inside, "sh", self.dir / "root", self.dir / "sshd_config"]
        self.process = bench.start("sshd", *space)
        wait_until("sshd listens", lambda: listens(self.sftp))

    def empty(self):
        for file in self.files.iterdir():
            file.unlink()
