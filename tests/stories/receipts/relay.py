#!/usr/bin/python3
"""A relay that wants TLS and a sign-in, in which receipts land as in tests/support/sink.py.

relay.py FOLDER {starttls,implicit} CERTIFICATE KEY [NAME SECRET-FILE]

With NAME it wants a sign-in: by PLAIN or LOGIN with the secret as password, or by XOAUTH2 with the secret as token. The file is
read anew each time. Prints its port, and ends when its standard input does.
"""

import asyncio
import base64
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../support"))
from sink import Keep, serve  # noqa: E402


class Relay(Keep):
    def __init__(self, folder, name, secret):
        super().__init__(folder)
        self.name, self.secret = name, secret

    def note(self, line):
        with open(os.path.join(self.folder, "heard"), "a") as file:
            file.write(line + "\n")

    def is_right(self, name, secret):
        with open(self.secret) as file:
            return name == self.name and secret == file.read().strip()

    async def auth_XOAUTH2(self, server, args):
        said = base64.b64decode(args[1]).decode()
        name, bearer = said.rstrip("\x01").split("\x01")
        token = bearer.removeprefix("auth=Bearer ")
        self.note(f"XOAUTH2 {token}")
        if self.is_right(name.removeprefix("user="), token):
            return AuthResult(success=True, auth_data=name)
        # As Google and Microsoft do: the reason as a question, which is answered with an empty line.
        await server.push("334 " + base64.b64encode(b'{"status":"400"}').decode())
        await server._reader.readline()
        return AuthResult(success=False, handled=False)

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        self.note("EHLO" + (" under TLS" if session.ssl else ""))
        session.host_name = hostname
        return responses

    async def handle_MAIL(self, server, session, envelope, address, options):
        envelope.mail_from = address
        self.note("MAIL" + (" under TLS" if server.transport.get_extra_info("ssl_object") else " in clear"))
        return "250 2.1.0 ok"


async def main(folder, mode, certificate, key, name=None, secret=None):
    keep = Relay(folder, name, secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def authenticate(server, session, envelope, mechanism, data):
        keep.note(mechanism)
        right = isinstance(data, LoginPassword) and keep.is_right(data.login.decode(), data.password.decode())
        return AuthResult(success=right, handled=False)

    def session():
        wanted = {"authenticator": authenticate, "auth_required": name is not None}
        if mode == "starttls":
            return SMTP(keep, hostname="relay.example", tls_context=context, require_starttls=True, **wanted)
        return SMTP(keep, hostname="relay.example", auth_require_tls=False, **wanted)

    await serve(session, context if mode == "implicit" else None)


asyncio.run(main(*sys.argv[1:]))
