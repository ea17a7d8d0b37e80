#!/usr/bin/env -S python3 -IS
"""A testee that misbehaves as its argument says, for the tests of the runner.

    hostile_testee.py HOW
    hostile_testee.py hello '{"pid":1}'          its hello with these keys; null takes one out
    hostile_testee.py answer run '{"events":3}'  says that to this command

In what it says @PARENT, @DEEP, @HUGE, @BYTES and @NUL stand for what a shell cannot pass.
"""

import array
import json
import os
import socket
import sys
import time


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_rudely(text):
    for name, value in (("@PARENT", str(os.getppid())), ("@DEEP", "[" * 100000 + "]" * 100000),
                        ("@HUGE", "9" * 400), ("@SELF", str(os.getpid()))):
        text = text.replace(name, value)
    data = text.encode().replace(b"@BYTES", b"\xff\xfe\xc0\x80\x1b[31m").replace(b"@NUL", b"\0")
    os.write(1, data[:1 << 20] + b"\n")


def hello(**more):
    line = {"hello": 1, "name": "hostile", "version": "1", "pid": os.getpid(),
            "roles": ["receiver"], "features": [], "profiles": ["unit-1.35.0"]}
    line.update(more)
    say(json.dumps({key: value for key, value in line.items() if value is not None}))


def flood(text):
    while True:
        os.write(1, text)


def fork_many():
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
            os._exit(0)


def before_hello(how):
    if how == "crash-at-start":
        os.abort()
    if how == "hang-at-start":
        time.sleep(600)
    if how == "flood-at-start":
        flood(b"x" * 65536)
    if how == "garbage-at-start":
        say("good morning")
    if how == "wrong-hello":
        say(json.dumps({"hello": 2, "name": "hostile"}))
    if how == "wrong-pid":
        hello(pid=1 << 22)
    if how == "closed-at-start":
        os.close(1)
        time.sleep(600)
    if how == "exit-at-start":
        sys.exit(0)
    if how == "hello":
        more = {"pid": os.getpid()}
        more.update(json.loads(sys.argv[2].replace("@PARENT", str(os.getppid()))))
        hello(**more)
        return True
    if how == "says":
        say_rudely(sys.argv[2])
        return True
    return False


def on_run(how):
    if how == "crash":
        os.abort()
    if how == "hang":
        time.sleep(600)
    if how == "flood":
        flood(b"{}\n" * 10000)
    if how == "huge-line":
        flood(b"x" * 65536)
    if how == "garbage":
        return "!!"
    if how == "array":
        return "[]"
    if how == "wrong-events":
        return json.dumps({"events": [{"ev": "delivered"}]})
    if how == "closes-stdout":
        os.close(1)
        time.sleep(600)
    if how == "closes-stderr":
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
    if how == "floods-stderr":
        sys.stderr.write("x" * 1000000)
        sys.stderr.flush()
    if how == "forks":
        fork_many()
    if how == "shuts-down":
        socket.socket(fileno=os.dup(4)).shutdown(socket.SHUT_RDWR)
    if how == "floods-the-port":
        port = socket.socket(fileno=os.dup(4))
        port.setblocking(True)
        while True:
            port.sendmsg([b"x" * 16384], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))])
    if how == "leaves-a-daemon":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.dup2(os.open("/dev/null", os.O_RDWR), 1)
                os.dup2(1, 2)
                time.sleep(600)
            os._exit(0)
        os.wait()
    if how == "leaves-a-child":
        import subprocess  # seldom wanted, and slow to load
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    if how == "says-too-much":
        return json.dumps({"events": []}) + "\n" + json.dumps({"events": []})
    return json.dumps({"events": []})


def main():
    how = sys.argv[1]
    if not before_hello(how):
        hello()
    if how == "never-reads":
        time.sleep(600)
    for line in sys.stdin:
        command = json.loads(line).get("cmd")
        if how == "answer" and command == sys.argv[2]:
            say_rudely(sys.argv[3])
        elif command == "start":
            say(json.dumps({"ok": True, "max_size": 16384, "types": ["data"]}))
            if how == "twice":
                say(json.dumps({"ok": True, "max_size": 16384, "types": ["data"]}))
        elif command == "run":
            say(on_run(how))
        elif command in ("keep", "reset"):
            say(json.dumps({"ok": True}))
        elif command == "stats":
            say(json.dumps({"open_assemblies": 0}))
        elif command == "quit" and how != "never-quits":
            break
        else:
            say(json.dumps({"unsupported": True}))
    if how == "never-quits":
        time.sleep(600)


main()
