"""The documents and mails that are sent. Debian's reportlab and Pillow draw the two real ones."""

import base64
import os
import random

from lib.bench import packages

WORDS = (
    "patient claim policy invoice remittance lab result referral authorization denied pending total amount due date of "
    "service provider physician signature attached please review the following items as discussed by telephone"
).split()
TOKEN = b"@TOKEN@"


def photo_pdf(size):
    """A PDF of one page that is one grey picture of noise, `size` bytes long or nearly so: nothing in it can be packed."""
    width = 320
    height = max(1, (size - 900) // width)
    pixels = os.urandom(width * height)
    drawing = b"q 500 0 0 700 56 46 cm /Im Do Q"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /XObject << /Im 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(drawing), drawing),
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8 /Length %d >>\nstream\n%b\nendstream"
        % (width, height, len(pixels), pixels),
    ]
    pdf = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(pdf))
        pdf += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(pdf)
    pdf += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    pdf += b"".join(b"%010d 00000 n \n" % place for place in places)
    pdf += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(pdf)


def mail(pdf, name="report.pdf", message_id=True):
    """A mail with that attachment, lines ended by CR LF; TOKEN stands where each one's own name goes."""
    lines = [
        b"From: Bench Sender <sender@bench.test>",
        b"To: fax@fax.bench.test",
        b"Subject: Report",
        *([b"Message-ID: <" + TOKEN + b"@bench.test>"] if message_id else []),
        b"Date: Mon, 01 Jan 2024 12:00:00 +0000",
        b"MIME-Version: 1.0",
        b'Content-Type: multipart/mixed; boundary="b42"',
        b"",
        b"--b42",
        b"Content-Type: text/plain; charset=utf-8",
        b"",
        b"Please find the report attached.",
        b"",
        b"--b42",
        b'Content-Type: application/pdf; name="%b"' % name.encode(),
        b"Content-Transfer-Encoding: base64",
        b'Content-Disposition: attachment; filename="%b"' % name.encode(),
        b"",
        *base64.encodebytes(pdf).splitlines(),
        b"--b42--",
        b"",
    ]
    return b"\r\n".join(lines)


def words(chance, count):
    return " ".join(chance.choice(WORDS) for _ in range(count)).capitalize() + "."


def report10(path):
    """Ten pages of text with a table each, about 20 KB."""
    packages(python3_reportlab="/usr/lib/python3/dist-packages/reportlab")
    from reportlab.lib.pagesizes import letter
    from reportlab.pdfgen import canvas

    chance = random.Random(7)
    sheet = canvas.Canvas(str(path), pagesize=letter, pageCompression=1)
    for page in range(1, 11):
        sheet.setFont("Helvetica-Bold", 16)
        sheet.drawString(60, 740, f"Quarterly report, section {page}")
        sheet.setFont("Times-Roman", 11)
        for line in range(38):
            sheet.drawString(60, 715 - line * 14, words(chance, 11))
        sheet.setFont("Courier", 9)
        for line in range(6):
            sheet.rect(60, 150 - line * 16, 490, 16)
            sheet.drawString(66, 154 - line * 16, f"{chance.randint(10000, 99999)}   {words(chance, 4):45.45}   {chance.uniform(1, 9999):10.2f}")
        sheet.showPage()
    sheet.save()


def scan30(path):
    """Thirty scanned pages of 204 dots per inch, black and white, CCITT G4, about 2 MB."""
    packages(python3_pil="/usr/lib/python3/dist-packages/PIL")
    from PIL import Image, ImageDraw

    chance = random.Random(8)
    pages = []
    for number in range(1, 31):
        # The built-in font is small: drawn at a third and made larger.
        page = Image.new("L", (576, 733), 255)
        draw = ImageDraw.Draw(page)
        draw.text((50, 40), f"Scanned page {number}", fill=0)
        for line in range(50):
            draw.text((50, 70 + line * 12.6), words(chance, 13)[:80], fill=0)
        page = page.resize((1728, 2200)).rotate(chance.uniform(-0.7, 0.7), fillcolor=255, resample=Image.BILINEAR)
        dots = page.load()
        for _ in range(2500):
            dots[chance.randrange(1728), chance.randrange(2200)] = 0
        pages.append(page.point(lambda grey: 255 if grey > 128 else 0).convert("1"))
    pages[0].save(path, save_all=True, append_images=pages[1:], resolution=204.0)
