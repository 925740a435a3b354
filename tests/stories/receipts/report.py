#!/usr/bin/python3
"""A mail as Python's parser sees it, as JSON: its type, the types of its parts, and the fields of its delivery report."""

import json
import sys
from email import policy
from email.parser import BytesParser

mail = BytesParser(policy=policy.default).parse(open(sys.argv[1], "rb"))
parts = list(mail.iter_parts())
status = [part for part in parts if part.get_content_type() == "message/delivery-status"]
blocks = [dict(block.items()) for block in status[0].get_payload()] if status else []
original = [part.get_content() for part in parts if part.get_content_type() == "text/rfc822-headers"]
if original and isinstance(original[0], bytes):
    original = [original[0].decode()]
print(
    json.dumps(
        {
            "type": mail.get_content_type(),
            "report": mail.get_param("report-type"),
            "parts": [part.get_content_type() for part in parts],
            "blocks": blocks,
            "original": original,
            "text": mail.get_body(("plain",)).get_content() if not status else
                    parts[0].get_body(("plain",)).get_content(),
            "defects": [str(defect) for part in mail.walk() for defect in part.defects],
        }
    )
)
