"""Clients as paramiko makes them, and with it many programs: arguments are a port, a key and what to do. Run with Debian's python3."""

import sys

import paramiko

port, key, what, *names = sys.argv[1:]
transport = paramiko.Transport(("127.0.0.1", int(port)))
transport.start_client(timeout=20)
transport.auth_publickey("billing", paramiko.Ed25519Key.from_private_key_file(key))
client = paramiko.SFTPClient.from_transport(transport)

if what == "write":  # as `with open(...)`: the answer to the close is not looked at
    local, remote = names
    with client.open("in/" + remote, "wb") as file:
        file.write(open(local, "rb").read())
elif what == "half":  # an exception in the middle closes the handle all the same
    local, remote = names
    body = open(local, "rb").read()
    try:
        with client.open("in/" + remote, "wb") as file:
            file.write(body[: len(body) // 2])
            raise ValueError("the local disk is gone")
    except ValueError:
        pass
elif what == "put":
    local, remote = names
    client.put(local, "in/" + remote)
elif what == "append":
    local, remote = names
    with client.open("in/" + remote, "ab") as file:
        file.write(open(local, "rb").read())
else:
    sys.exit("what is " + what + "?")
transport.close()
