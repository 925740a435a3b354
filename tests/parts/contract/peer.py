"""A peer that knows an API only by its description (OpenAPI, as YAML), and takes each request at its word.

    peer.py DESCRIPTION VERDICTS [ANSWERS]

It prints its port on standard output, answers requests on 127.0.0.1, and ends when standard input is
closed. Each request is held against the description: path, method, parameters, credentials, content type,
body. What a description does not mention is a fault: unknown fields and parameters, unless it says
`additionalProperties`. A valid request gets the description's own example for its first good answer; any
other gets 422 with all its faults. The verdict on each is appended to VERDICTS, one JSON object a line,
before the answer leaves.

Where the description has no example, ANSWERS has one: a YAML file whose keys are operations. The description
is held against itself first: every operation has a good answer, with an example that fits its schema.

Forms are checked as objects: the field `labels[job]` is the property `job` of `labels`; numbers and
booleans are read from their text; a property of format `binary`, or with a `contentMediaType`, is a file,
which is measured and hashed, not read.
"""

import base64
import binascii
import hashlib
import json
import re
import sys
import threading
import urllib.parse
import uuid
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jsonschema
import yaml

METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
BODY_AT_MOST = 64 << 20
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time")
def is_time(text):
    # RFC 3339, which wants a zone; Python 3.11 reads more than that.
    if not isinstance(text, str):
        return True
    shape = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    try:
        return bool(shape and datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00")))
    except ValueError:
        return False


@FORMATS.checks("uuid")
def is_uuid(text):
    try:
        return not isinstance(text, str) or str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


@FORMATS.checks("uri")
def is_uri(text):
    parts = urllib.parse.urlsplit(text) if isinstance(text, str) else None
    return parts is None or bool(parts.scheme and parts.netloc and not re.search(r"\s", text))


@FORMATS.checks("byte")
def is_base64(text):
    try:
        return not isinstance(text, str) or base64.b64decode(text, validate=True) is not None
    except binascii.Error:
        return False


def read_yaml(path):
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)


def pairs_once(pairs):
    """For JSON: a key that stands twice means one thing to one reader and another to the next."""
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"twice: {', '.join(twice)}")
    return dict(pairs)


class Description:
    def __init__(self, path, answers):
        self.answers = answers
        self.root = read_yaml(path)
        servers = self.root.get("servers") or [{"url": "/"}]
        self.base = urllib.parse.urlsplit(servers[0]["url"]).path.rstrip("/")
        self.operations = []
        for template, item in self.root["paths"].items():
            item = self.whole(item)
            for method in METHODS:
                if method in item:
                    self.operations.append(Operation(self, template, method, item))
        names = [operation.name for operation in self.operations]
        if len(set(names)) != len(names):
            raise SystemExit(f"{path}: two operations have the same operationId")
        strange = sorted(set(answers) - set(names))
        if strange:
            raise SystemExit(f"{path}: answers to what is not there: {', '.join(strange)}")

    def whole(self, node):
        """What a reference points to, or the node itself."""
        while isinstance(node, dict) and "$ref" in node:
            reference, node = node["$ref"], self.root
            for step in reference.removeprefix("#/").split("/"):
                node = node[step.replace("~1", "/").replace("~0", "~")]
        return node

    def schema(self, node, closed):
        """An OpenAPI schema as JSON schema without references; with `closed`, objects have no other properties."""
        node = dict(self.whole(node))
        merged = {"properties": {}, "required": []}
        for part in [self.schema(part, False) for part in node.pop("allOf", [])]:
            merged["properties"].update(part.pop("properties", {}))
            merged["required"] += part.pop("required", [])
            merged.update(part)
        merged["properties"].update(node.pop("properties", {}))
        merged["required"] += node.pop("required", [])
        merged.update(node)
        schema = {key: value for key, value in merged.items() if key != "required" or value}
        schema["properties"] = {name: self.schema(p, closed) for name, p in merged["properties"].items()}
        for kind in ("oneOf", "anyOf"):
            if kind in schema:
                parts = schema[kind] = [self.schema(part, closed and not schema["properties"]) for part in schema[kind]]
                if schema["properties"]:
                    # What an alternative adds is known to the object; the object closes, not the alternative.
                    for part in parts:
                        for name, known in part.get("properties", {}).items():
                            schema["properties"].setdefault(name, known)
        if "not" in schema:
            schema["not"] = self.schema(schema["not"], False)
        if "items" in schema:
            schema["items"] = self.schema(schema["items"], closed)
        if isinstance(schema.get("additionalProperties"), dict):
            schema["additionalProperties"] = self.schema(schema["additionalProperties"], closed)
        elif closed and schema["properties"]:
            schema.setdefault("additionalProperties", False)
        if schema.get("contentEncoding") == "base64":
            schema["format"] = "byte"
        if not schema["properties"]:
            del schema["properties"]
        if schema.pop("nullable", False):
            if "type" in schema:
                schema["type"] = [schema["type"], "null"]
            if "enum" in schema:
                schema["enum"] = [*schema["enum"], None]
        return schema

    def find(self, method, path):
        """The operation for a path, the parameters in it, or None and why not."""
        fits = []
        for operation in self.operations:
            values = operation.match(self.base, path)
            if values is not None:
                fits.append((operation, values))
        # "/faxes/list" goes before "/faxes/{id}".
        fits.sort(key=lambda fit: len(fit[1]))
        for operation, values in fits:
            if operation.method == method.lower():
                return operation, values, None
        if fits:
            return None, {}, f"method: {method} is not among those of {fits[0][0].template}"
        return None, {}, "path: not in the description"


def errors(schema, value, where):
    validator = jsonschema.Draft202012Validator(schema, format_checker=FORMATS)
    found = sorted(validator.iter_errors(value), key=lambda error: str(list(error.absolute_path)))
    return [f"{'.'.join([where, *map(str, error.absolute_path)])}: {error.message}" for error in found]


def from_text(schema, text):
    """A value of a form or URL as the schema means it. What cannot be read so stays text, for the schema to refuse."""
    kinds = schema.get("type", [])
    if "integer" in kinds and re.fullmatch(r"-?(0|[1-9]\d*)", text):
        return int(text)
    if "number" in kinds and re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", text):
        return float(text)
    if "boolean" in kinds and text in ("true", "false"):
        return text == "true"
    return text


class Operation:
    def __init__(self, description, template, method, item):
        node = item[method]
        self.description, self.template, self.method = description, template, method
        self.name = node.get("operationId", f"{method.upper()} {template}")
        parameters = {}
        for parameter in [*item.get("parameters", []), *node.get("parameters", [])]:
            parameter = dict(description.whole(parameter))
            parameter["schema"] = description.schema(parameter["schema"], True)
            parameters[parameter["in"], parameter["name"]] = parameter
        self.parameters = list(parameters.values())
        self.security = node.get("security", description.root.get("security", []))
        self.body = description.whole(node.get("requestBody", {}))
        self.contents = {}
        for kind, content in self.body.get("content", {}).items():
            self.contents[kind] = (description.schema(content["schema"], True), content.get("encoding", {}))
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
        self.pattern = re.compile(pattern)
        self.answer = self.good_answer(node)

    def match(self, base, path):
        if not path.startswith(base):
            return None
        fit = self.pattern.fullmatch(path[len(base) :])
        return None if fit is None else {k: urllib.parse.unquote(v) for k, v in fit.groupdict().items()}

    def good_answer(self, node):
        """Status, content type and bytes of the first answer that is good."""
        for status, answer in sorted(node["responses"].items(), key=lambda item: str(item[0])):
            answer = self.description.whole(answer)
            if not str(status).startswith("2"):
                continue
            kind, content = next(iter(answer.get("content", {"application/json": {}}).items()))
            if "example" in content:
                example = content["example"]
            elif "examples" in content:
                example = self.description.whole(next(iter(content["examples"].values())))["value"]
            elif self.name in self.description.answers:
                example = self.description.answers[self.name]
            elif "content" in answer:
                raise SystemExit(f"{self.name}: the answer {status} has no example")
            else:
                return int(status), None, b""
            # YAML reads times as times; JSON has none.
            example = json.loads(json.dumps(example, default=lambda time: time.isoformat().replace("+00:00", "Z")))
            schema = self.description.schema(content.get("schema", {}), False)
            wrong = errors(schema, example, f"{self.name}: example of {status}")
            if wrong:
                raise SystemExit("\n".join(wrong))
            return int(status), kind, json.dumps(example).encode()
        raise SystemExit(f"{self.name}: no good answer is described")

    def check(self, path_values, query, headers, body, verdict):
        faults = verdict["faults"]
        self.check_parameters(path_values, query, headers, faults)
        self.check_credentials(headers, query, faults)
        self.check_body(headers, body, verdict)

    def check_parameters(self, path_values, query, headers, faults):
        left = {}
        for name, value in query:
            left.setdefault(name, []).append(value)
        for parameter in self.parameters:
            name, place, schema = parameter["name"], parameter["in"], parameter["schema"]
            if place == "query" and schema.get("type") == "object":
                # Style deepObject, the only one in which an object can be told from its neighbours.
                fields = [(key, text) for key in list(left) if key.startswith(f"{name}[") for text in left.pop(key)]
                given = [nested({"properties": {name: schema}}, fields, faults).get(name)] if fields else []
            elif place == "path":
                given = [from_text(schema, path_values.get(name, ""))]
            else:
                texts = left.pop(name, []) if place == "query" else headers.get_all(name) or []
                given = [from_text(schema.get("items", schema), text) for text in texts]
            if schema.get("type") == "array":
                given = [given] if given else []
            if len(given) > 1:
                faults.append(f"{place}.{name}: stands {len(given)} times")
            elif given:
                faults += errors(schema, given[0], f"{place}.{name}")
            elif parameter.get("required"):
                faults.append(f"{place}.{name}: is required")
        faults += [f"query.{name}: not in the description" for name in left]

    def check_credentials(self, headers, query, faults):
        if not self.security:
            return
        schemes = self.description.root["components"]["securitySchemes"]
        wanted = []
        for alternative in self.security:
            if all(shows(self.description.whole(schemes[name]), headers, query) for name in alternative):
                return
            wanted.append(" and ".join(alternative) or "none")
        faults.append(f"security: needs {' or '.join(wanted)}")

    def check_body(self, headers, body, verdict):
        faults = verdict["faults"]
        if not self.contents:
            if body:
                faults.append("body: none is described")
            return
        if not body and headers.get("content-type") is None:
            if self.body.get("required"):
                faults.append("body: is required")
            return
        kind = headers.get_content_type() if headers.get("content-type") else None
        verdict["content_type"] = kind
        if kind not in self.contents:
            faults.append(f"content type: {kind} is not among {', '.join(self.contents)}")
            return
        schema, encoding = self.contents[kind]
        if kind == "multipart/form-data":
            value = self.form(schema, encoding, headers.get_param("boundary"), body, verdict)
        elif kind == "application/x-www-form-urlencoded":
            fields = urllib.parse.parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
            value = nested(schema, fields, faults)
        elif kind == "application/json":
            try:
                value = json.loads(body, object_pairs_hook=pairs_once)
            except ValueError as error:
                faults.append(f"body: no JSON: {error}")
                return
        else:
            measure(verdict, "body", body, kind)
            return
        verdict["body"] = value
        faults += errors(schema, value, "body")

    def form(self, schema, encoding, boundary, body, verdict):
        faults = verdict["faults"]
        fields, files = [], {}
        for disposition, kind, content in parts(boundary, body, faults):
            name, filename = disposition.get("name"), disposition.get("filename")
            if name is None:
                faults.append("form: a part without a name")
                continue
            known = schema.get("properties", {}).get(name, {})
            inner = known.get("items", {}) if known.get("type") == "array" else known
            if inner.get("format") == "binary" or "contentMediaType" in inner:
                measure(verdict, name, content, kind)
                types = encoding.get(name, {}).get("contentType") or inner.get("contentMediaType", "")
                allowed = [text.strip() for text in types.split(",") if text]
                if allowed and kind not in allowed:
                    faults.append(f"form.{name}: {kind} is not among {', '.join(allowed)}")
                if not filename:
                    faults.append(f"form.{name}: a file without a name")
                files.setdefault(name, []).append(f"<{len(content)} bytes>")
                continue
            if filename is not None:
                faults.append(f"form.{name}: a file where a field is described")
            try:
                fields.append((name, content.decode()))
            except UnicodeDecodeError:
                faults.append(f"form.{name}: not UTF-8")
        value = nested(schema, fields, faults)
        for name, contents in files.items():
            is_list = schema["properties"][name].get("type") == "array"
            value[name] = contents if is_list else contents[0]
            if len(contents) > 1 and not is_list:
                faults.append(f"form.{name}: stands {len(contents)} times")
        return value


def nested(schema, fields, faults):
    """Fields such as `labels[job]` as an object."""
    value = {}
    for name, text in fields:
        literal = schema.get("properties", {}).get(name)
        for pattern, known in schema.get("patternProperties", {}).items():
            literal = known if literal is None and re.search(pattern, name) else literal
        shape = re.fullmatch(r"([^\[\]]+)((?:\[[^\[\]]*\])*)", name)
        if literal is not None:
            # Descriptions may name such a field as it stands in the form.
            steps = [name]
        elif not shape:
            faults.append(f"field {name!r}: brackets do not match")
            continue
        else:
            steps = [shape[1], *re.findall(r"\[([^\[\]]*)\]", shape[2])]
        here, known = value, schema
        for step in steps[:-1]:
            known = below(known, step)
            here = here.setdefault(step, {}) if isinstance(here, dict) else None
        if not isinstance(here, dict):
            faults.append(f"field {name!r}: is no object")
            continue
        last = literal or below(known, steps[-1])
        if last.get("type") == "array":
            here.setdefault(steps[-1], []).append(from_text(last.get("items", {}), text))
        elif steps[-1] in here:
            faults.append(f"field {name!r}: stands twice")
        else:
            here[steps[-1]] = from_text(last, text)
    return value


def below(schema, name):
    """The schema of a property, named or not; of what is not described, an empty one."""
    found = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
    return found if isinstance(found, dict) else {}


def parts(boundary, body, faults):
    """The parts of a form (RFC 7578): the parameters of their disposition, their type, their bytes."""
    if not isinstance(boundary, str):
        faults.append("form: no boundary")
        return
    line = b"--" + boundary.encode()
    pieces = (b"\r\n" + body).split(b"\r\n" + line)
    if pieces[0] or len(pieces) < 2 or pieces[-1] not in (b"--", b"--\r\n"):
        faults.append("form: does not begin and end with its boundary")
        return
    for piece in pieces[1:-1]:
        head, gap, content = piece.partition(b"\r\n\r\n")
        if not gap or not head.startswith(b"\r\n"):
            faults.append("form: a part without headers")
            continue
        disposition, kind = {}, None
        for header in head[2:].decode("utf-8", "replace").split("\r\n"):
            name, _, text = header.partition(":")
            if name.lower() == "content-disposition":
                if not text.strip().startswith("form-data"):
                    faults.append(f"form: disposition {text.strip()!r}")
                # `name*=` is forbidden in forms, so it names nothing here.
                disposition = dict(re.findall(r';\s*([\w*]+)="((?:[^"\\]|\\.)*)"', text))
            elif name.lower() == "content-type":
                kind = text.strip().split(";")[0]
            else:
                faults.append(f"form: a part with the header {name}")
        yield disposition, kind, content


def measure(verdict, name, content, kind):
    digest = hashlib.sha256(content).hexdigest()
    verdict["files"].append({"name": name, "type": kind, "bytes": len(content), "sha256": digest})


def shows(scheme, headers, query):
    """Whether the request shows credentials of that kind. Which ones is not our business."""
    word, _, rest = headers.get("authorization", "").partition(" ")
    if scheme["type"] == "apiKey":
        place = scheme["in"]
        return bool(headers.get(scheme["name"])) if place == "header" else any(k == scheme["name"] for k, _ in query)
    if scheme["type"] == "http" and scheme["scheme"] == "basic":
        try:
            return word == "Basic" and b":" in base64.b64decode(rest, validate=True)
        except binascii.Error:
            return False
    return word == "Bearer" and bool(re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", rest))


class Peer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    description, verdicts, lock = None, None, threading.Lock()

    def log_message(self, *_):
        pass

    def body(self):
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(min(int(self.headers.get("content-length", 0)), BODY_AT_MOST))

    def take(self):
        body = self.body()
        path, _, text = self.path.partition("?")
        query = urllib.parse.parse_qsl(text, keep_blank_values=True)
        operation, values, missing = self.description.find(self.command, path)
        verdict = {"operation": operation and operation.name, "method": self.command, "path": path, "query": query}
        verdict.update(content_type=None, body=None, files=[], faults=[])
        if operation:
            operation.check(values, query, self.headers, body, verdict)
            status, kind, answer = operation.answer
        else:
            verdict["faults"].append(missing)
        if verdict["faults"]:
            status, kind, answer = 422, "application/json", json.dumps({"faults": verdict["faults"]}).encode()
        with self.lock, open(self.verdicts, "a", encoding="utf-8") as file:
            file.write(json.dumps(verdict) + "\n")
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = take


def main():
    description, Peer.verdicts, *answers = sys.argv[1:]
    Peer.description = Description(description, read_yaml(answers[0]) if answers else {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Peer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    known = [operation.name for operation in Peer.description.operations]
    print(json.dumps({"port": server.server_port, "base": Peer.description.base, "operations": known}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
