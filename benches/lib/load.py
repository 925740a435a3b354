"""A load of mails over SMTP, as its own process: load.py PORT MAIL COUNT SESSIONS RECIPIENT...; one line of JSON.

One mail a connection. A mail counts when the answer to its end is 250. `whole` is the time from MAIL to that answer, `answer`
that from the last byte handed to the system. Each mail has a Message-ID of its own.
"""

import asyncio
import collections
import json
import pathlib
import sys
import time
import uuid

TOKEN = b"@TOKEN@"
LIMIT = 600


class Refused(Exception):
    pass


async def say(reader, writer, line, wanted):
    if line:
        writer.write(line + b"\r\n")
    while True:
        answer = await reader.readline()
        if answer[3:4] != b"-":
            break
    if not answer.startswith(wanted):
        raise Refused(answer.decode("latin-1").strip()[:80] or "closed")


class Load:
    def __init__(self, port, mail, count, recipients):
        self.port, self.left, self.recipients = port, count, recipients
        mail = (b"\r\n" + mail).replace(b"\r\n.", b"\r\n..")[2:]
        # Cut where the token stands, so that no copy of a large mail is made for each.
        self.pieces = (mail + b".\r\n").split(TOKEN)
        self.size = len(mail)
        self.whole, self.answer, self.trouble = [], [], collections.Counter()

    async def session(self):
        while self.left > 0:
            self.left -= 1
            try:
                await self.send(self.recipients[self.left % len(self.recipients)])
            except (OSError, Refused) as error:
                self.trouble[str(error)] += 1

    async def send(self, recipient):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await say(reader, writer, b"", b"220")
            await say(reader, writer, b"EHLO load.bench.test", b"250")
            began = time.perf_counter()
            await say(reader, writer, b"MAIL FROM:<sender@bench.test> SIZE=%d" % self.size, b"250")
            await say(reader, writer, b"RCPT TO:<%b>" % recipient.encode(), b"250")
            await say(reader, writer, b"DATA", b"354")
            token = uuid.uuid4().hex.encode()
            for nth, piece in enumerate(self.pieces):
                if nth:
                    writer.write(token)
                view = memoryview(piece)
                for start in range(0, len(view), 1 << 18):
                    writer.write(view[start : start + (1 << 18)])
                    await writer.drain()
            handed = time.perf_counter()
            await say(reader, writer, b"", b"250")
            ended = time.perf_counter()
            self.whole.append(ended - began)
            self.answer.append(ended - handed)
            await say(reader, writer, b"QUIT", b"221")
        finally:
            writer.close()


def percentile(values, part):
    values = sorted(values)
    return round(1000 * values[min(len(values) - 1, int(len(values) * part))], 2) if values else None


async def main():
    port, mail, count, sessions, *recipients = sys.argv[1:]
    load = Load(int(port), pathlib.Path(mail).read_bytes(), int(count), recipients)
    started, began = time.time(), time.perf_counter()
    await asyncio.wait_for(asyncio.gather(*(load.session() for _ in range(int(sessions)))), LIMIT)
    seconds = time.perf_counter() - began
    result = {"began": started, "accepted": len(load.whole), "seconds": seconds, "rate": len(load.whole) / seconds, "trouble": dict(load.trouble)}
    for name in ("whole", "answer"):
        result[name] = [percentile(getattr(load, name), part) for part in (0.5, 0.99)]
    print(json.dumps(result))


asyncio.run(main())
