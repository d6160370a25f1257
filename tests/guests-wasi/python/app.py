"""A step in Python: fetches a URL with the client that componentize-py brings, or looks for what steps do not have.

Nothing in it knows of accounts, but for the prop that says which one requests may go through.
"""

import asyncio
import json
import os
import random
import socket
import sys

import poll_loop
from componentize_py_types import Err, Ok
from poll_loop import PollLoop, Stream
from wit_world import WitWorld as World
from wit_world.imports import deputy_step_types as step
from wit_world.imports.types import Fields, IncomingBody, Method_Get, OutgoingRequest, Scheme_Http, Scheme_Https


class WitWorld(World):
    def props(self):
        need = step.AppNeed(app="demo", scopes=[], methods=[], paths=[], requests=None, bytes=None, ambient=True)
        return [
            prop("demo", step.PropKind_App(need)),
            prop("url", step.PropKind_Text(), optional=True),
        ]

    def run(self, input):
        print("a line for people")
        url = json.loads(input).get("url")
        try:
            return json.dumps(look() if url is None else PollLoop().run_until_complete(fetch(url)))
        except Exception as error:
            raise Err(f"{type(error).__name__}: {error}")


def prop(name, kind, optional=False):
    return step.Prop(
        name=name, kind=kind, label=None, help=None, optional=optional, default=None, options=[], secret=False
    )


async def fetch(url):
    scheme, rest = url.split("://", 1)
    authority, _, path = rest.partition("/")
    request = OutgoingRequest(Fields.from_list([("accept", b"application/json")]))
    request.set_method(Method_Get())
    request.set_scheme(Scheme_Http() if scheme == "http" else Scheme_Https())
    request.set_authority(authority)
    request.set_path_with_query("/" + path)
    answer = await poll_loop.send(request)
    body = bytearray()
    stream = Stream(answer.consume())
    while (piece := await stream.next()) is not None:
        body += piece
    return {"status": answer.status(), "body": json.loads(bytes(body))}


def look():
    return {
        "arguments": sys.argv[1:],
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "list": said(lambda: os.listdir(".")),
        "write": said(lambda: open("/tmp/planted", "w")),
        "tcp": said(lambda: socket.create_connection(("127.0.0.1", 9), timeout=1)),
        "name": said(lambda: socket.getaddrinfo("localhost", 80)),
        # Not the same in every run, although the interpreter was started when this was built.
        "random": random.getrandbits(62),
    }


def said(attempt):
    try:
        return {"ok": str(attempt())}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
