"""What an administrator would write: script.py URL TOKEN MAIL COUNT NUMBER; a mail to the provider, with a cover, COUNT times.

Parsed with the standard library, cover by reportlab, put together by pypdf, sent by requests over one kept connection.
It prints when its first job began, so that its start can be left out.
"""

import email
import email.policy
import io
import sys
import time

import requests
from pypdf import PdfWriter
from reportlab.lib.pagesizes import letter
from reportlab.pdfgen import canvas


def cover(message, number, documents):
    pdf = io.BytesIO()
    sheet = canvas.Canvas(pdf, pagesize=letter)
    sheet.setFont("Helvetica-Bold", 36)
    sheet.drawString(72, 690, "FAX")
    sheet.setFont("Helvetica", 12)
    fields = [("To", number), *((key, str(message[key])) for key in ("From", "Subject", "Date")), ("Documents", documents)]
    for nth, (label, value) in enumerate(fields):
        sheet.drawString(72, 640 - 22 * nth, f"{label}: {value}")
    body = message.get_body(("plain",))
    for nth, line in enumerate(body.get_content().splitlines()[:25] if body else []):
        sheet.drawString(72, 500 - 15 * nth, line[:90])
    sheet.save()
    return pdf


def send(session, url, raw, number, reference):
    message = email.message_from_bytes(raw, policy=email.policy.default)
    documents = [part.get_content() for part in message.iter_attachments() if part.get_content_type() == "application/pdf"]
    merger = PdfWriter()
    for pdf in [cover(message, number, len(documents)), *map(io.BytesIO, documents)]:
        merger.append(pdf)
    whole = io.BytesIO()
    merger.write(whole)
    fields = {"reference": reference, "to": number}
    answer = session.post(f"{url}/v1/faxes", data=fields, files={"document": ("fax.pdf", whole.getvalue(), "application/pdf")}, timeout=30)
    answer.raise_for_status()
    return answer.json()["id"]


def main():
    url, token, mail, count, number = sys.argv[1:]
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    with open(mail, "rb") as file:
        raw = file.read()
    print(time.time())
    for nth in range(int(count)):
        send(session, url, raw, number, f"script{number[1:]}x{nth}-1")


main()
