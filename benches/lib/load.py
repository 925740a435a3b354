"""A load of mails over SMTP, as its own processes; one line of JSON.

load.py [--tls] [--per-session N] [--seconds S] PORT MAIL COUNT SESSIONS RECIPIENT...

A mail counts when the answer to its end is 250. `whole` is the time from MAIL to that answer, `answer` that from the last byte
handed to the system. Each mail has a Message-ID of its own. With `--tls` each session begins TLS by STARTTLS, with a whole handshake
(nothing is resumed; the certificate is not looked at); N mails go over each session, 1 if nothing else is said. After S seconds no
further session begins, however many of COUNT are left.

Plain sockets and threads in a few processes: what a mail costs the client (`client`, processor milliseconds) must be little beside
what it costs a server, which shares the processors with it.
"""

import argparse
import collections
import json
import math
import multiprocessing
import pathlib
import resource
import socket
import ssl
import threading
import time
import uuid

TOKEN = b"@TOKEN@"
LIMIT = 600
# Threads of one process share one interpreter lock.
PROCESSES = 3
PIECE = 1 << 18


class Refused(Exception):
    pass


class Session:
    """One connection, from the greeting to the last QUIT."""

    def __init__(self, port, tls):
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT)
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.say(b"", b"220")
            self.say(b"EHLO load.bench.test\r\n", b"250")
            if tls:
                self.say(b"STARTTLS\r\n", b"220")
                self.socket = tls.wrap_socket(self.socket)
                self.say(b"EHLO load.bench.test\r\n", b"250")
        except BaseException:
            self.socket.close()
            raise

    def say(self, words, wanted):
        if words:
            self.socket.sendall(words)
        answer = b""
        # The last line of an answer has a blank behind its code. No server here says more than it was asked for.
        while not (answer.endswith(b"\n") and answer[answer.rfind(b"\n", 0, -1) + 1 :][3:4] == b" "):
            # The kernel forgets it again and again. Without it, servers that gather small packets lose up to 40 ms here.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            more = self.socket.recv(4096)
            if not more:
                raise Refused("closed")
            answer += more
        if not answer.startswith(wanted):
            raise Refused(answer.decode("latin-1").strip()[:80])


class Load:
    """The part of one process: COUNT mails of all, from the one numbered `first` on."""

    def __init__(self, options, first, count, sessions):
        self.options, self.next, self.end, self.sessions = options, first, first + count, sessions
        # No session takes what would leave others without any.
        self.per_session = max(1, min(options.per_session, -(-count // sessions)))
        mail = pathlib.Path(options.mail).read_bytes()
        mail = (b"\r\n" + mail).replace(b"\r\n.", b"\r\n..")[2:]
        # Cut where the token stands, so that no copy of a large mail is made for each.
        self.pieces = (mail + b".\r\n").split(TOKEN)
        self.size = len(mail)
        self.tls = None
        if options.tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.tls.check_hostname = False
            self.tls.verify_mode = ssl.CERT_NONE
        self.lock = threading.Lock()
        self.whole, self.answer, self.trouble = [], [], collections.Counter()
        self.until = math.inf

    def take(self):
        """The numbers of the mails of the next connection."""
        if time.monotonic() > self.until:
            return range(0)
        with self.lock:
            first = self.next
            self.next = min(self.end, first + self.per_session)
            return range(first, self.next)

    def work(self):
        """What one of the sessions at a time does: one connection after the other until nothing is left to send."""
        while True:
            mails = self.take()
            if not mails:
                return
            try:
                session = Session(self.options.port, self.tls)
                with session.socket:
                    for nth in mails:
                        self.send(session, self.options.recipient[nth % len(self.options.recipient)])
                    session.say(b"QUIT\r\n", b"221")
            except (OSError, Refused) as error:
                self.trouble[str(error)] += 1

    def send(self, session, recipient):
        began = time.perf_counter()
        session.say(b"MAIL FROM:<sender@bench.test> SIZE=%d\r\n" % self.size, b"250")
        session.say(b"RCPT TO:<%b>\r\n" % recipient.encode(), b"250")
        session.say(b"DATA\r\n", b"354")
        token = uuid.uuid4().hex.encode()
        for nth, piece in enumerate(self.pieces):
            if nth:
                session.socket.sendall(token)
            view = memoryview(piece)
            for start in range(0, len(view), PIECE):
                session.socket.sendall(view[start : start + PIECE])
        handed = time.perf_counter()
        session.say(b"", b"250")
        ended = time.perf_counter()
        self.whole.append(ended - began)
        self.answer.append(ended - handed)

    def run(self, results, start):
        threads = [threading.Thread(target=self.work, daemon=True) for _ in range(self.sessions)]
        start.wait()
        self.until = time.monotonic() + self.options.seconds
        for thread in threads:
            thread.start()
        limit = time.monotonic() + LIMIT
        for thread in threads:
            thread.join(max(0.0, limit - time.monotonic()))
        used = resource.getrusage(resource.RUSAGE_SELF)
        results.put((self.whole, self.answer, dict(self.trouble), used.ru_utime + used.ru_stime))


def shares(whole, parts):
    return [whole * (n + 1) // parts - whole * n // parts for n in range(parts)]


def percentile(values, part):
    values = sorted(values)
    return round(1000 * values[min(len(values) - 1, int(len(values) * part))], 2) if values else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--per-session", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("port", type=int)
    parser.add_argument("mail")
    parser.add_argument("count", type=int)
    parser.add_argument("sessions", type=int)
    parser.add_argument("recipient", nargs="+")
    options = parser.parse_args()
    parts = min(PROCESSES, options.sessions)
    fork = multiprocessing.get_context("fork")
    results, start = fork.Queue(), fork.Barrier(parts + 1)
    counts = shares(options.count, parts)
    firsts = [sum(counts[:n]) for n in range(parts)]
    loads = [Load(options, *share) for share in zip(firsts, counts, shares(options.sessions, parts))]
    processes = [fork.Process(target=load.run, args=(results, start), daemon=True) for load in loads]
    for process in processes:
        process.start()
    start.wait()
    started, began = time.time(), time.perf_counter()
    whole, answer, trouble, client = [], [], collections.Counter(), 0.0
    for _ in processes:
        its_whole, its_answer, its_trouble, its_client = results.get(timeout=LIMIT + 30)
        whole += its_whole
        answer += its_answer
        trouble.update(its_trouble)
        client += its_client
    seconds = time.perf_counter() - began
    result = {"began": started, "accepted": len(whole), "seconds": seconds, "rate": len(whole) / seconds, "trouble": dict(trouble)}
    result["client"] = round(1000 * client / max(1, len(whole)), 2)
    for name, values in (("whole", whole), ("answer", answer)):
        result[name] = [percentile(values, part) for part in (0.5, 0.99)]
    print(json.dumps(result))


main()
