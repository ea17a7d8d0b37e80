#!/usr/bin/env -S python3 -IS
"""A port in Python, standard library only: a testee of the live suite.

Written from the protocol's text (protocol/README.md) and the contract of testees
(oracle/suite/README.md) alone, so that it is a second opinion on both, and an example of
an implementation in another language. It takes fragments, descriptors and credentials;
it has no shared memory.
"""

import array
import collections
import errno
import fcntl
import functools
import json
import os
import select
import socket
import struct
import sys
import termios
import time
import zlib

HEADER = struct.Struct("=IiHBBBBBB")  # stream pid reply_port type last mmap nf mf byte15
RECEIVE_FD, SEND_FD = 3, 4
RUNS = 7
LIMITS = {"assemblies_per_sender": 64, "assemblies_per_port": 256, "assembly_bytes": 4 << 20,
          "total_bytes": 8 << 20, "queue_messages": 1024, "queue_bytes": 16 << 20, "queue_fds": 64}
# types there are, fds, keyed by sender too, header counts in MAX, credentials, number of data
Profile = collections.namedtuple("Profile", "types fds keyed inside credentials data")
PROFILES = {
    "unit-0.2": Profile(13, 1, False, False, False, 12),
    "unit-1.18.0": Profile(21, 1, True, True, False, 18),
    "unit-1.25.0": Profile(29, 2, True, True, False, 23),
    "unit-1.35.0": Profile(34, 2, True, True, True, 27),
}
RPC_READY = 0


@functools.lru_cache(maxsize=1)
def whole_period():
    """One period of the pattern, seed 0: 40503 is odd, and only 16 bits of the sum matter."""
    return bytes((i * 40503 & 65535) >> 8 for i in range(65536))


def pattern(seed, count):
    """Byte i of a buffer: ((seed * 2654435761 + i * 40503) >> 8) & 255."""
    if count < 1000:
        return bytes((seed * 2654435761 + i * 40503 & 65535) >> 8 for i in range(count))
    # From where seed 0 has the same sum.
    begin = seed * 2654435761 * pow(40503, -1, 65536) % 65536
    return (whole_period() * (count // 65536 + 2))[begin:begin + count]


def file_name(fd):
    status = os.fstat(fd)
    return "%d:%d" % (status.st_dev, status.st_ino)


def close_all(fds):
    while fds:
        os.close(fds.pop())


class Assembly:
    """A message whose end has not come yet."""

    def __init__(self, header, sender, fds):
        self.header, self.sender, self.fds = header, sender, fds
        self.last = False
        self.payload = bytearray()


class Receiver:
    def __init__(self, sock, profile, max_size, events):
        self.sock, self.profile, self.max_size, self.events = sock, profile, max_size, events
        self.open, self.assemblies, self.kept, self.keeps = True, {}, [], False
        self.held_bytes = 0
        if profile.credentials:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.control_bytes = socket.CMSG_SPACE(253 * 4) + socket.CMSG_SPACE(12)

    def turn(self):
        """Reads one datagram; whether there was one."""
        if not self.open:
            return False
        try:
            data, control, flags, _ = self.sock.recvmsg(
                self.max_size + 17, self.control_bytes,
                socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError, ConnectionResetError):
            return False
        fds, pid, rights = [], 0, 0
        for level, kind, content in control:
            if level != socket.SOL_SOCKET:
                continue
            if kind == socket.SCM_RIGHTS:
                rights += 1
                numbers = array.array("i")
                numbers.frombytes(content[:len(content) - len(content) % numbers.itemsize])
                fds += numbers
            elif kind == socket.SCM_CREDENTIALS:
                pid = struct.unpack("iII", content)[0]
        if not data and not fds and self.hung_up():
            self.end()
            return False
        self.datagram(data, fds, rights, pid, flags)
        return True

    def hung_up(self):
        poller = select.poll()
        poller.register(self.sock, select.POLLIN | select.POLLRDHUP)
        happened = poller.poll(0)
        if not happened or not happened[0][1] & (select.POLLHUP | select.POLLRDHUP):
            return False
        left = array.array("i", [0])
        fcntl.ioctl(self.sock, termios.FIONREAD, left)
        return left[0] == 0

    def end(self):
        self.open = False
        for key in list(self.assemblies):
            self.discard(key)
        self.events.append({"ev": "closed"})

    def discard(self, key):
        assembly = self.assemblies.pop(key, None)
        if assembly:
            self.held_bytes -= len(assembly.payload)
            close_all(assembly.fds)

    def refuse(self, rule, fds):
        close_all(fds)
        self.events.append({"ev": "refused", "rule": rule})

    def datagram(self, data, fds, rights, cred_pid, flags):
        """The checks of section 5, in their order."""
        header, key, sender = None, None, None
        if len(data) >= 16:
            header = HEADER.unpack_from(data)
            sender = cred_pid or header[1]
            key = (sender if self.profile.keyed else 0, header[0])
        if len(fds) > self.profile.fds or rights > 1:
            return self.refuse("FDS-2", fds)
        if flags & socket.MSG_CTRUNC:
            self.discard(key)
            return self.refuse("RCV-1", fds)
        if not header:
            return self.refuse("HDR-1", fds)
        if flags & socket.MSG_TRUNC or len(data) > self.max_size + 16:
            self.discard(key)
            return self.refuse("RCV-1", fds)
        if header[3] not in (self.profile.data, RPC_READY):
            return self.refuse("HDR-4", fds)
        if header[6] and fds:
            return self.refuse("FDS-1", fds)
        if header[5]:  # mmap: it has no shared memory, so no segment is known
            self.discard(key)
            return self.refuse("SHM-2", fds)
        if header[6] or header[7]:
            return self.fragment(header, key, sender, data[16:], fds)
        return self.deliver(header, data[16:], bool(header[4]), fds)

    def fragment(self, header, key, sender, payload, fds):
        assembly = self.assemblies.get(key)
        if not header[6] and assembly:
            return self.refuse("FRG-1", fds)
        if header[6] and not assembly:
            return self.refuse("FRG-2", fds)
        if assembly and assembly.header[3] != header[3]:
            self.discard(key)
            return self.refuse("FRG-3", fds)
        if not self.fits(assembly, sender, len(payload)):
            self.discard(key)
            return self.refuse("FRG-8", fds)
        if not assembly:
            assembly = self.assemblies[key] = Assembly(header, sender, fds)
        assembly.payload += payload
        self.held_bytes += len(payload)
        assembly.last |= bool(header[4])
        if header[7]:
            return None
        del self.assemblies[key]
        self.held_bytes -= len(assembly.payload)
        return self.deliver(assembly.header, assembly.payload, assembly.last, assembly.fds)

    def fits(self, assembly, sender, more):
        owner = assembly.sender if assembly else sender
        mine = [other for other in self.assemblies.values() if other.sender == owner]
        others = len(self.assemblies) - len(mine)
        my_bytes = sum(len(one.payload) for one in mine)
        others_bytes = self.held_bytes - my_bytes
        if not assembly:
            if len(mine) >= LIMITS["assemblies_per_sender"]:
                return False
            if len(mine) + 1 > (LIMITS["assemblies_per_port"] - others) // 2:
                return False
        has = len(assembly.payload) if assembly else 0
        return (has + more <= LIMITS["assembly_bytes"]
                and my_bytes + more <= (LIMITS["total_bytes"] - others_bytes) // 2)

    def deliver(self, header, payload, last, fds):
        self.events.append({
            "ev": "delivered", "type": header[3], "stream": header[0], "pid": header[1],
            "reply_port": header[2], "last": last, "bytes": len(payload),
            "crc32": "%08x" % zlib.crc32(payload), "fds": [file_name(fd) for fd in fds]})
        if self.keeps:
            self.kept += fds
        else:
            close_all(fds)

    def reset(self):
        self.keeps = False
        while self.turn():
            pass
        for key in list(self.assemblies):
            self.discard(key)
        close_all(self.kept)


class Buffer:
    """A piece of a chain: bytes at a place in memory, or a sync buffer."""

    def __init__(self, index, place, data, sync, last):
        self.index, self.place, self.data, self.sync, self.last = index, place, data, sync, last


class Message:
    def __init__(self, command):
        self.id = command.get("message", 0)
        self.stream = command.get("stream", 0)
        self.reply_port = command.get("reply_port", 0)
        self.type = command.get("type", 0)
        self.last = bool(command.get("last"))
        self.chain, self.bytes = [], 0
        self.sent, self.skip = 0, 0  # buffers wholly sent; bytes of the next one
        self.begun, self.share, self.fds, self.owns = False, 0, [], False
        place = 0
        for index, piece in enumerate(command.get("chain", [])):
            if piece.get("sync"):
                self.chain.append(Buffer(index, 0, b"", True, bool(piece.get("last"))))
                continue
            data = pattern(piece.get("seed", 0), piece.get("bytes", 0))
            if not piece.get("adjacent"):
                place += 1
            self.chain.append(Buffer(index, place, data, False, False))
            place += len(data)
            self.bytes += len(data)


class Sender:
    def __init__(self, sock, profile, start, events):
        self.sock, self.profile, self.events = sock, profile, events
        self.pid, self.share = start["pid"], start["max_share"]
        self.limit = start["max_size"] - (16 if profile.inside else 0)
        self.queue, self.lent = [], []
        self.failed = False
        self.retry_at, self.retry_ms = None, 1

    def refusal(self, command):
        if self.failed:
            return "the port failed"
        if not 0 <= command.get("type", 0) < self.profile.types:
            return "no such type"
        if command.get("fds", 0) > self.profile.fds:
            return "too many descriptors"
        size = sum(piece.get("bytes", 0) for piece in command.get("chain", []))
        queued_fds = sum(len(message.fds) for message in self.queue)
        if (len(self.queue) >= LIMITS["queue_messages"]
                or size + sum(message.bytes for message in self.queue) > LIMITS["queue_bytes"]
                or command.get("fds", 0) + queued_fds > LIMITS["queue_fds"]):
            return "the queue is full"
        return None

    def send(self, command):
        if set(command) - {"cmd", "message", "type", "last", "stream", "reply_port", "chain",
                           "fds", "close_fd", "batch"}:
            return {"unsupported": True}
        for piece in command.get("chain", []):
            if set(piece) - {"bytes", "seed", "sync", "last", "adjacent"}:
                return {"unsupported": True}
        reason = self.refusal(command)
        if reason:
            return {"accepted": False, "reason": reason}
        message = Message(command)
        made = [os.memfd_create("python") for _ in range(command.get("fds", 0))]
        message.fds, message.owns = list(made), bool(command.get("close_fd"))
        if not message.owns:
            self.lent += made
        names = [file_name(fd) for fd in made]
        waits = bool(self.queue) or bool(command.get("batch"))
        self.queue.append(message)
        if not waits:
            while self.turn():
                pass
        if message in self.queue and not message.begun and not message.owns:
            message.fds, message.owns = [os.dup(fd) for fd in message.fds], True
        return {"accepted": True, "fds": names} if names else {"accepted": True}

    def next(self):
        """The first that has begun, or the first unbegun one if its stream is free."""
        waiting = None
        for message in self.queue:
            if message.begun:
                return message
            if waiting is None:
                waiting = message
                if not any(o.begun and o.stream == message.stream for o in self.queue):
                    return message
        return None

    def compose(self, message):
        """(payload, buffers wholly taken, bytes of the next, mark, more): section 3."""
        parts, total, runs, end = [], 0, 0, None
        index, skip, mark = message.sent, message.skip, False
        while index < len(message.chain):
            buffer = message.chain[index]
            left = len(buffer.data) - skip
            if buffer.sync:
                mark |= buffer.last
            elif left:
                if total == self.limit:
                    break
                place = buffer.place + skip
                if place != end:
                    if runs == RUNS:
                        break
                    runs += 1
                taken = min(left, self.limit - total)
                parts.append(buffer.data[skip:skip + taken])
                total += taken
                end = place + taken
                if taken < left:
                    skip += taken
                    break
            index, skip = index + 1, 0
        return b"".join(parts), index, skip, mark, index < len(message.chain)

    def turn(self):
        """Sends one datagram; whether one left."""
        if self.retry_at is not None and time.monotonic() < self.retry_at:
            return False
        self.retry_at = None
        message = self.next()
        if message is None:
            return False
        payload, sent, skip, mark, more = self.compose(message)
        last = message.last or mark
        header = HEADER.pack(message.stream, self.pid, message.reply_port, message.type, last, 0,
                             message.begun, more, 0)
        control = []
        if message.fds and not message.begun:
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", message.fds))]
        try:
            count = self.sock.sendmsg([header, payload], control,
                                      socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError as error:
            return self.failure(message, error.errno)
        self.retry_ms = 1
        message.last = last  # once set it stays set
        self.progress(message, sent, skip, more, count)
        return True

    def failure(self, message, number):
        if number in (errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS):
            self.retry_at = time.monotonic() + self.retry_ms / 1000
            self.retry_ms = min(100, 2 * self.retry_ms)
            return False
        fatal = number in (errno.EPIPE, errno.ECONNRESET, errno.ECONNREFUSED, errno.ENOTCONN)
        if fatal or message.begun:
            self.failed = True
            while self.queue:
                self.fail(self.queue[0])
        else:
            self.fail(message)
        return False

    def fail(self, message):
        self.queue.remove(message)
        self.complete(message, len(message.chain), False)
        if message.owns:
            close_all(message.fds)

    def progress(self, message, sent, skip, more, count):
        if not message.begun and message.owns:
            close_all(message.fds)
        message.fds = []
        message.begun = True
        self.complete(message, sent, True)
        message.skip = skip
        if not more:
            self.queue.remove(message)
            return
        message.share += count
        if message.share >= self.share:
            message.share = 0
            self.queue.remove(message)
            self.queue.append(message)

    def complete(self, message, until, ok):
        if not message.chain:
            self.completed(message, None, ok)
        for buffer in message.chain[message.sent:until]:
            self.completed(message, buffer.index, ok)
            message.bytes -= len(buffer.data)
            buffer.data = b""
        message.sent = until

    def completed(self, message, buffer, ok):
        self.events.append(
            {"ev": "completed", "message": message.id, "buffer": buffer, "ok": ok})

    def reset(self):
        for message in self.queue:
            if message.owns and not message.begun:
                close_all(message.fds)
        self.queue = []
        close_all(self.lent)


class Testee:
    def __init__(self):
        self.events, self.receiver, self.sender = [], None, None

    def start(self, command):
        profile = PROFILES.get(command.get("profile"))
        if profile is None:
            return {"unsupported": True}
        max_size, share = command.get("max_size", 0), command.get("max_share", 0)
        send = socket.socket(fileno=os.dup(SEND_FD))
        os.set_inheritable(send.fileno(), False)
        datagram = max_size + (0 if profile.inside else 16)
        room = send.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - 32
        if not 64 <= max_size <= 1 << 20 or share < 1 or datagram > room:
            send.close()
            return {"ok": False, "reason": "parameters"}
        receive = socket.socket(fileno=os.dup(RECEIVE_FD))
        self.receiver = Receiver(receive, profile, max_size, self.events)
        self.sender = Sender(send, profile, command, self.events)
        return {"ok": True, "max_size": max_size, "types": ["rpc_ready", "data"]}

    def run(self, command):
        idle = command.get("idle_ms", 20) / 1000
        deadline = time.monotonic() + command.get("deadline_ms", 2000) / 1000
        last = time.monotonic()
        while time.monotonic() < deadline:
            if self.receiver.turn() | self.sender.turn():
                last = time.monotonic()
                continue
            left = last + idle - time.monotonic()
            if self.sender.retry_at is not None:  # a pending retry is not idle
                left = max(0, self.sender.retry_at - time.monotonic())
                last = time.monotonic()
            elif left <= 0:
                break
            left = min(left, deadline - time.monotonic())
            reading = [self.receiver.sock] if self.receiver.open else []
            writing = [self.sender.sock] if self.sender.queue and not self.sender.retry_at else []
            select.select(reading, writing, [], max(0, left))
        events, self.events[:] = list(self.events), []
        return {"events": events}

    def stats(self):
        return {"open_assemblies": len(self.receiver.assemblies),
                "held_bytes": self.receiver.held_bytes,
                "queued_messages": len(self.sender.queue), "chunks_busy": 0}

    def reset(self):
        self.sender.reset()
        self.receiver.reset()
        self.events.clear()
        return {"ok": True}

    def keep(self, command):
        self.receiver.keeps = bool(command.get("fds"))
        return {"ok": True}

    def answer(self, command):
        name = command.get("cmd")
        if name == "start":
            return self.start(command)
        known = {"send": lambda: self.sender.send(command), "run": lambda: self.run(command),
                 "stats": self.stats, "keep": lambda: self.keep(command), "reset": self.reset}
        if self.receiver is None or name not in known:
            return {"unsupported": True}
        return known[name]()


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main():
    for fd in (RECEIVE_FD, SEND_FD):
        os.set_inheritable(fd, False)
    say({"hello": 1, "name": "python", "version": "1", "pid": os.getpid(),
         "roles": ["receiver", "sender"], "features": ["fragments", "fds", "credentials"],
         "profiles": list(PROFILES), "limits": LIMITS})
    testee = Testee()
    for line in sys.stdin:
        command = json.loads(line)
        if command.get("cmd") == "quit":
            break
        say(testee.answer(command))


if __name__ == "__main__":
    main()
