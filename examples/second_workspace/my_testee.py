#!/usr/bin/env python3
"""The smallest testee: it receives whole messages, and says so."""

import json
import os
import select
import socket
import struct
import sys
import zlib

DATA = 27
events = []


def say(answer):
    print(json.dumps(answer), flush=True)


def receive(port, max_size):
    try:
        data, control, _, _ = port.recvmsg(max_size + 17, 4096, socket.MSG_DONTWAIT)
    except ConnectionResetError:
        return True
    for _, kind, content in control:
        if kind == socket.SCM_RIGHTS:
            for (fd,) in struct.iter_unpack("i", content):
                os.close(fd)
    if not data:  # taken for the end: see known_failures.txt
        events.append({"ev": "closed"})
        return False
    if len(data) < 16:
        events.append({"ev": "refused", "rule": "HDR-1"})
        return True
    stream, pid, reply, kind, last, mmap, nf, mf, _ = struct.unpack_from("=IiHBBBBBB", data)
    if len(data) > max_size + 16:
        events.append({"ev": "refused", "rule": "RCV-1"})
    elif kind != DATA:
        events.append({"ev": "refused", "rule": "HDR-4"})
    elif nf or mf or mmap:  # it takes neither fragments nor shared memory
        events.append({"ev": "refused"})
    else:
        events.append({"ev": "delivered", "type": kind, "stream": stream, "pid": pid,
                       "reply_port": reply, "last": bool(last), "bytes": len(data) - 16,
                       "crc32": "%08x" % zlib.crc32(data[16:]), "fds": []})
    return True


def run(port, max_size, idle_ms):
    while select.select([port], [], [], idle_ms / 1000)[0]:
        if not receive(port, max_size):
            break


def main():
    say({"hello": 1, "name": "mine", "version": "0", "pid": os.getpid(), "roles": ["receiver"],
         "features": [], "profiles": ["unit-1.35.0"]})
    port = socket.socket(fileno=3)
    max_size = ended = 0
    for line in sys.stdin:
        command = json.loads(line)
        name = command.get("cmd")
        if name == "start":
            max_size = command["max_size"]
            say({"ok": True, "max_size": max_size, "types": ["data"]})
        elif name == "run":
            if not ended:
                run(port, max_size, command["idle_ms"])
            ended = ended or {"ev": "closed"} in events
            say({"events": events})
            events.clear()
        elif name == "stats":
            say({"open_assemblies": 0, "held_bytes": 0, "queued_messages": 0, "chunks_busy": 0})
        elif name == "reset":
            run(port, max_size, 0)
            events.clear()
            say({"ok": True})
        elif name == "keep":
            say({"ok": True})
        elif name == "quit":
            break
        else:
            say({"unsupported": True})


main()
