#!/usr/bin/python3
"""A mail sink: keeps every mail as FOLDER/NNNNNN.eml, its envelope in two header lines in front.

Prints the port it listens on, and ends when its standard input does. Needs the Debian package python3-aiosmtpd.
"""

import asyncio
import os
import sys

from aiosmtpd.smtp import SMTP


class Keep:
    def __init__(self, folder):
        self.folder = folder
        self.kept = 0

    async def handle_DATA(self, server, session, envelope):
        self.kept += 1
        name = os.path.join(self.folder, f"{self.kept:06}")
        with open(name + ".part", "wb") as file:
            # The null sender comes with its brackets, others without.
            file.write(f"X-Envelope-From: {envelope.mail_from}\r\n".encode())
            file.write(f"X-Envelope-To: {', '.join(envelope.rcpt_tos)}\r\n".encode())
            file.write(envelope.original_content)
        os.rename(name + ".part", name + ".eml")
        return "250 2.0.0 kept"


async def serve(session, tls=None):
    """Answers each connection with a session until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    sink = Keep(sys.argv[1])
    asyncio.run(serve(lambda: SMTP(sink, hostname="sink.example")))
