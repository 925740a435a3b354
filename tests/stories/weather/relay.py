#!/usr/bin/python3
"""A relay with moods: keeps mails as the sink does, unless FOLDER/mood says otherwise.

Moods: "banner" (554 in place of a greeting), "null" (takes no null sender), "grey" (451 to every recipient), anything else: good.
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

    def mood(self):
        try:
            with open(os.path.join(self.folder, "mood")) as file:
                return file.read().strip()
        except FileNotFoundError:
            return "good"

    async def handle_MAIL(self, server, session, envelope, address, options):
        if self.mood() == "null" and address in ("", "<>"):
            return "501 5.1.7 Invalid MAIL FROM address provided"
        envelope.mail_from = address
        return "250 2.1.0 go on"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.mood() == "grey":
            return "451 4.7.1 Greylisted, try again in 5 minutes"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 go on"

    async def handle_DATA(self, server, session, envelope):
        self.kept += 1
        name = os.path.join(self.folder, f"{self.kept:06}")
        with open(name + ".part", "wb") as file:
            file.write(f"X-Envelope-From: {envelope.mail_from}\r\n".encode())
            file.write(f"X-Envelope-To: {', '.join(envelope.rcpt_tos)}\r\n".encode())
            file.write(envelope.original_content)
        os.rename(name + ".part", name + ".eml")
        return "250 2.0.0 kept"


class Moody(SMTP):
    async def push(self, status):
        if self.event_handler.mood() == "banner":
            status = "554 5.7.1 no"
        await super().push(status)


async def main(folder):
    keep = Keep(folder)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Moody(keep, hostname="relay.example"), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main(sys.argv[1]))
