#!/usr/bin/env python3
"""Writes the first inputs of both fuzz targets into corpus/: the mails of fixtures/mails, and dialogues that hand them over."""
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
MAILS = sorted((HERE.parent / "fixtures" / "mails").glob("*.eml"))
#: Longer inputs cost more than they find.
LONGEST = 64 << 10
# The first byte chooses the protocol, and these addresses are taken: see src/intake/smtp/fuzzing.rs.
HELLO, LMTP = b"\0EHLO x\r\n", b"\1LHLO x\r\n"
MAIL = b"MAIL FROM:<a@b>"
RCPT = b"RCPT TO:<x@f>\r\n"
#: What a client may say beside handing over a mail.
WORDS = {
    "words": HELLO + b"NOOP\r\nRSET\r\nVRFY a\r\nHELP\r\nEXPN a\r\nHELO x\r\nLHLO x\r\nQUIT\r\n",
    "starttls": HELLO + b"STARTTLS\r\n\x16\x03\x01\x00\x05hello",
    "auth-plain": HELLO + b"AUTH PLAIN AGphbmUAc2VjcmV0\r\nAUTH PLAIN\r\nAGphbmUAc2VjcmV0\r\n",
    "auth-login": HELLO + b"AUTH LOGIN\r\namFuZQ==\r\nc2VjcmV0\r\nAUTH LOGIN amFuZQ==\r\n*\r\n",
    "proxy-1": b"\0PROXY TCP4 192.0.2.1 192.0.2.2 1234 25\r\n" + HELLO[1:],
    "proxy-2": b"\0\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x00\x19" + HELLO[1:],
    "parameters": HELLO + MAIL + b" SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=<>\r\n"
    b"RCPT TO:<x@f> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a@b\r\n",
    "addresses": HELLO + MAIL + b"\r\n" + b"".join(
        b"RCPT TO:" + one + b"\r\n" for one in (b"<@a,@b:c@d>", b'<"a b"@c>', b"<a@[192.0.2.1]>", b"<>", b"<postmaster>", b"a@b",
                                                b"<FAX=+12125550199@f>", "<ü@f>".encode())),
    "smuggling": HELLO + MAIL + b"\r\n" + RCPT + b"DATA\r\nSubject: a\r\n\r\nb\n.\nMAIL FROM:<x@y>\r\n\r.\r\r\n.\nc\r\n.\r\nQUIT\r\n",
    "pipelined": HELLO + (MAIL + b"\r\n" + RCPT + b"DATA\r\nSubject: a\r\n\r\n..\r\n.\r\n") * 3,
    "lmtp": LMTP + MAIL + b"\r\n" + RCPT + b"RCPT TO:<y@f>\r\nDATA\r\nSubject: a\r\n\r\nb\r\n.\r\nQUIT\r\n",
    "lmtp-bdat": LMTP + MAIL + b"\r\n" + RCPT + b"RCPT TO:<y@f>\r\nBDAT 5\r\nA: b\nBDAT 0 LAST\r\nQUIT\r\n",
}


def write(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def main():
    for name, data in WORDS.items():
        write("smtp_session", name, data)
    for path in MAILS:
        mail = path.read_bytes()
        if len(mail) > LONGEST:
            continue
        write("mail_parts", path.stem, mail)
        stuffed = mail.replace(b"\r\n.", b"\r\n..")
        ended = b"" if stuffed.endswith(b"\r\n") else b"\r\n"
        write("smtp_session", path.stem, HELLO + MAIL + b"\r\n" + RCPT + b"DATA\r\n" + stuffed + ended + b".\r\nQUIT\r\n")
    for path in MAILS[::8]:
        mail = path.read_bytes()[:4096]
        cut = len(mail) // 2
        chunks = b"BDAT %d\r\n%sBDAT %d LAST\r\n%s" % (cut, mail[:cut], len(mail) - cut, mail[cut:])
        write("smtp_session", f"{path.stem}-bdat", HELLO + MAIL + b" BODY=BINARYMIME\r\n" + RCPT + chunks + b"QUIT\r\n")


if __name__ == "__main__":
    main()
