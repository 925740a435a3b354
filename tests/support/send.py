#!/usr/bin/python3
"""Sends a mail as Python programs do: send.py PORT FROM TO FILE. Prints the server's last word where it refuses."""

import smtplib
import sys

port, sender, recipient, path = sys.argv[1:]
with open(path, "rb") as file:
    mail = file.read()
try:
    with smtplib.SMTP("127.0.0.1", int(port), local_hostname="client.example") as server:
        server.sendmail(sender, [recipient], mail)
except smtplib.SMTPRecipientsRefused as refused:
    sys.exit(str(refused.recipients))
except smtplib.SMTPResponseException as refused:
    sys.exit(f"{refused.smtp_code} {refused.smtp_error!r}")
