#!/usr/bin/env python3
"""Makes a long trace by repeating a real one: repeat_trace.py RECORDING OUT MEGABYTES [--no-receives]

Inodes, process ids and streams are renumbered at each repeat and times go on, so that
nothing of one repeat is taken for something of another. RECORDING is strace text with
-f -ttt -yy -xx, plain or .zst. With --no-receives every receive is left out.
"""
import re
import subprocess
import sys

INODES = re.compile(r"UNIX(-SEQPACKET)?:\[(\d+)->(\d+)")
LINE = re.compile(r"(\d+)( +)(\d+)(\.\d+ )(.*)$", re.S)
HEADER = re.compile(r'(msg_iov=\[\{iov_base=")((?:\\x[0-9a-f]{2}){8})')
CREDENTIALS = re.compile(r"(cmsg_data=\{pid=)(\d+)")
CHILD = re.compile(r"(= )(\d+)$")
PARENT_TID = re.compile(r"(parent_tid=\[)(\d+)")


def read(path):
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout.decode()
    with open(path, encoding="ascii") as file:
        return file.read()


class Repeat:
    """One repeat: what is added to every number."""

    def __init__(self, index, pids):
        self.index = index
        self.inode = index * 10_000_000
        self.pid = index * 40_000
        self.pids = pids

    def new_pid(self, pid):
        return pid + self.pid if pid in self.pids else pid

    def header(self, match):
        raw = bytes.fromhex(match[2].replace("\\x", ""))
        stream = int.from_bytes(raw[:4], "little")
        pid = self.new_pid(int.from_bytes(raw[4:8], "little"))
        if stream:
            stream = (stream + self.index * 1000) % 2**32
        changed = stream.to_bytes(4, "little") + pid.to_bytes(4, "little")
        return match[1] + "".join("\\x%02x" % byte for byte in changed)

    def line(self, parts):
        pid, spaces, seconds, fraction, rest = parts
        number = lambda match: match[1] + str(self.new_pid(int(match[2])))
        if "UNIX" in rest or "msg_iov" in rest:
            rest = INODES.sub(
                lambda m: "UNIX%s:[%d->%d" % (m[1] or "", int(m[2]) + self.inode, int(m[3]) + self.inode), rest)
            rest = HEADER.sub(self.header, rest)
            rest = CREDENTIALS.sub(number, rest)
        elif "clone" in rest or "fork" in rest:
            rest = CHILD.sub(number, PARENT_TID.sub(number, rest))
        return "%d%s%d%s%s\n" % (self.new_pid(int(pid)), spaces, int(seconds) + self.index * 1000, fraction, rest)


def main():
    arguments = [a for a in sys.argv[1:] if a != "--no-receives"]
    if len(arguments) != 3:
        sys.exit(__doc__)
    lines = [LINE.match(line) for line in read(arguments[0]).splitlines()]
    parts = [match.groups() for match in lines if match]
    if "--no-receives" in sys.argv:
        parts = [part for part in parts if "recvmsg" not in part[4]]
    pids = {int(part[0]) for part in parts}
    wanted = float(arguments[2]) * 1e6
    written = 0
    with open(arguments[1], "w", encoding="ascii") as out:
        index = 0
        while written < wanted:
            repeat = Repeat(index, pids)
            text = "".join(repeat.line(part) for part in parts)
            written += out.write(text)
            index += 1


if __name__ == "__main__":
    main()
