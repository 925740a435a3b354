#!/usr/bin/python3
"""A relay with moods: keeps mails as the sink does, unless FOLDER/mood says otherwise.

Moods: "banner" (554 in place of a greeting), "null" (takes no null sender), "grey" (451 to every recipient), anything else: good.
Prints the port it listens on, and ends when its standard input does. Needs the Debian package python3-aiosmtpd.
"""

import asyncio
import os
import sys

from aiosmtpd.smtp import SMTP

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../support"))
from sink import Keep, serve  # noqa: E402


class Moods(Keep):
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


class Moody(SMTP):
    async def push(self, status):
        if self.event_handler.mood() == "banner":
            status = "554 5.7.1 no"
        await super().push(status)


relay = Moods(sys.argv[1])
asyncio.run(serve(lambda: Moody(relay, hostname="relay.example")))
