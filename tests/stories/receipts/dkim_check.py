#!/usr/bin/python3
"""Whether the DKIM signature of a mail is good: dkim_check.py MAIL NAME TXT, with NAME and TXT as the DNS would have them.

Prints "good" or "bad" for the mail as it is, for one with another body, for one with another Subject and for one whose
Auto-Submitted is gone, with the fields that were signed behind it. The envelope lines of tests/support/sink.py are taken away first.
"""

import sys

import dkim

mail = open(sys.argv[1], "rb").read()
name, txt = sys.argv[2].encode(), sys.argv[3].encode()
while mail.startswith(b"X-Envelope-"):
    mail = mail.split(b"\r\n", 1)[1]


def good(mail):
    try:
        found = dkim.verify(mail, dnsfunc=lambda asked, timeout=5: txt if asked.rstrip(b".") == name else None)
    except dkim.DKIMException:
        found = False
    return "good" if found else "bad"


header, body = mail.split(b"\r\n\r\n", 1)
print(
    good(mail),
    good(header + b"\r\n\r\n" + body.replace(b"fax", b"tax", 1) + b"more\r\n"),
    good(header.replace(b"\r\nSubject: ", b"\r\nSubject: Re: ") + b"\r\n\r\n" + body),
    good(header.replace(b"\r\nAuto-Submitted: auto-replied", b"") + b"\r\n\r\n" + body),
)
