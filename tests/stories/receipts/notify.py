#!/usr/bin/python3
"""Sends a mail whose client wants to hear of its failure: notify.py PORT FROM TO FILE."""

import smtplib
import sys

port, sender, recipient, path = sys.argv[1:]
with open(path, "rb") as file:
    mail = file.read()
with smtplib.SMTP("127.0.0.1", int(port), local_hostname="client.example") as server:
    server.ehlo()
    assert server.has_extn("dsn"), "DSN is offered"
    options = ["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;Front+2BDesk@clinic.example"]
    server.sendmail(sender, [recipient], mail, ["RET=HDRS", "ENVID=order+207"], options)
