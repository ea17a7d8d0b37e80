// Which events the lines of a recording become: each field of each kind, as JSON Lines say it.
#include "oracle/strace_events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "oracle/jsonl_writer.h"

namespace portproof {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Read {
  std::vector<std::string> events;  // "ev" and what follows, without its quotes
  std::vector<std::string> damage;
};

// The lines, in which @ stands for a message of 16 bytes, "S(" and "R(" for the calls; H in what
// they become is those bytes.
Read ReadLines(std::string_view text, bool files_are_threads = false) {
  Read read;
  JsonLinesWriter writer(
      [&](std::string_view line) {
        if (line.substr(0, 6) != "{\"ev\":") return;
        std::string event(line.substr(6, line.size() - 8));
        event.erase(std::remove(event.begin(), event.end(), '"'), event.end());
        read.events.push_back(
            absl::StrReplaceAll(event, {{"050000006500000000000c0000000000", "H"}}));
      },
      {});
  ReadLog log;
  StraceEvents events(writer, log, files_are_threads);
  const std::string file;
  uint64_t number = 0;
  std::string bytes;
  for (const char* byte : {"05", "00", "00", "00", "65", "00", "00", "00", "00", "00", "0c", "00",
                           "00", "00", "00", "00"}) {
    absl::StrAppend(&bytes, "\\x", byte);
  }
  for (const absl::string_view line :
       absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    const std::string expanded = absl::StrReplaceAll(
        line, {{"@", "{msg_iov=[{iov_base=\"HEADER\", iov_len=16}], msg_iovlen=1, msg_flags=0}"},
               {"S(", "sendmsg(9<UNIX:[11->10]>, "},
               {"R(", "recvmsg(8<UNIX:[10->11]>, "}});
    events.OnLine(absl::StrReplaceAll(expanded, {{"HEADER", bytes}}), file, ++number, kNoPid,
                  false);
  }
  events.Finish();
  for (const DamagedLine& damaged : log.damaged) {
    read.damage.push_back(absl::StrCat(damaged.line, ": ", damaged.what));
  }
  return read;
}

constexpr std::string_view kPairText =
    "1 1.0 socketpair(AF_UNIX, SOCK_SEQPACKET, 0, [8<UNIX:[10->11]>, 9<UNIX:[11->10]>]) = 0\n";
constexpr std::string_view kOpened = "open,port:10,time:0.0,kind:seqpacket";

std::vector<std::string> EventsOf(const std::string& lines) {
  const Read read = ReadLines(absl::StrCat(std::string(kPairText), lines));
  EXPECT_THAT(read.damage, IsEmpty());
  EXPECT_EQ(read.events.front(), kOpened);
  return {read.events.begin() + 1, read.events.end()};
}

TEST(StraceEvents, OfPorts) {
  EXPECT_THAT(EventsOf(""), IsEmpty());
  EXPECT_THAT(
      ReadLines(
          "1 1.0 socketpair(AF_UNIX, SOCK_DGRAM, 0, [8<UNIX-DGRAM:[10->11]>, "
          "9<UNIX-DGRAM:[11->10]>]) = 0\n"
          "1 2.0 socketpair(AF_UNIX, SOCK_DGRAM, 0,  <unfinished ...>\n"
          "1 2.5 <... socketpair resumed>[8<UNIX-DGRAM:[20->21]>, 9<UNIX-DGRAM:[21->20]>]) = 0")
          .events,
      ElementsAre("open,port:10,time:0.0,kind:dgram", "open,port:20,time:1.5,kind:dgram"));
  EXPECT_THAT(
      ReadLines(
          "1 1.0 socketpair(AF_UNIX, SOCK_STREAM, 0, [8<UNIX-STREAM:[10->11]>, "
          "9<UNIX-STREAM:[11->10]>]) = 0\n"
          "1 2.0 socketpair(AF_UNIX, SOCK_STREAM, 0,  <unfinished ...>\n"
          "1 2.5 <... socketpair resumed>[8<UNIX:[20->21]>, 9<UNIX:[21->20]>]) = 0\n"
          "1 3.0 socketpair(AF_UNIX, SOCK_SEQPACKET, 0, 0x7ffe) = -1 EMFILE (x)\n"
          "1 4.0 socketpair(AF_UNIX, SOCK_SEQPACKET, 0, [8<UNIX:[30->31]>, 9<UNIX:[31->30]>]) "
          "= -1 EFAULT (x)")
          .events,
      IsEmpty());
  EXPECT_THAT(EventsOf("7 2.0 close(9<UNIX:[11->10]>) = 0\n7 3.0 close(8<UNIX:[10]>) = 0\n"
                       "7 4.0 close(9<UNIX:[91->90]>) = 0\n7 5.0 close(3</x>) = 0"),
              ElementsAre("close,port:10,time:1.0,pid:7,tid:7"));
}

TEST(StraceEvents, OfSends) {
  EXPECT_THAT(EventsOf("1 2.0 fork() = 7\n7 3.0 S(@, 0) = 16"),
              ElementsAre("send,port:10,time:2.0,pid:7,tid:7,data:H,iov:1"));
  EXPECT_THAT(EventsOf("1 2.0 fork() = 7\n7 3.0 S(@, 0 <unfinished ...>\n1 4.0 R(@, 0) = 16\n"
                       "7 5.0 <... sendmsg resumed>) = 16"),
              ElementsAre("send,port:10,time:2.0,pid:7,tid:7,data:H,iov:1",
                          "recv,port:10,time:3.0,tid:1,data:H"));
  for (const std::string name :
       {"EAGAIN", "EPIPE", "EMSGSIZE", "ENOBUFS", "ETOOMANYREFS", "EPERM"}) {
    EXPECT_THAT(EventsOf(absl::StrCat("1 3.0 S(@, 0) = -1 ", name, " (x)")),
                ElementsAre(absl::StrCat("fail,port:10,time:2.0,tid:1,errno:", name)));
  }
  EXPECT_THAT(EventsOf("1 3.0 S(@, 0) = -1 EOTHER (x)"),
              ElementsAre("fail,port:10,time:2.0,tid:1,errno:EIO"));
  EXPECT_THAT(EventsOf("1 3.0 S(@, 0) = ? ERESTARTSYS (x)"),
              ElementsAre("fail,port:10,time:2.0,tid:1,errno:EINTR"));
  EXPECT_THAT(EventsOf("1 3.0 S(@, 0) = ?"),
              ElementsAre("send,port:10,time:2.0,tid:1,data:H,iov:1,killed:true"));
  EXPECT_THAT(
      EventsOf("1 3.0 S(@, 0 <unfinished ...>\n1 4.0 +++ killed by SIGKILL +++"),
      ElementsAre("send,port:10,time:2.0,tid:1,data:H,iov:1,killed:true", "exit,time:3.0,pid:1"));
  EXPECT_THAT(EventsOf("1 3.0 S(@, 0 <unfinished ...>"),
              ElementsAre("send,port:10,time:2.0,tid:1,data:H,iov:1,killed:true"));
  EXPECT_THAT(
      EventsOf("1 3.0 S(@, 0 <unfinished ...>\n1 4.0 <... sendmsg resumed>) = -1 EPIPE (x)"),
      ElementsAre("fail,port:10,time:2.0,tid:1,errno:EPIPE"));
}

TEST(StraceEvents, OfReceives) {
  EXPECT_THAT(
      EventsOf("1 3.0 R(@, 0) = 16\n1 4.0 R({msg_namelen=0}, 0) = -1 EAGAIN (x)\n"
               "1 5.0 R({msg_namelen=0}, 0) = -1 EBADF (x)\n1 6.0 R(0x7ffe, 0) = -1 EFAULT (x)"),
      ElementsAre("recv,port:10,time:2.0,tid:1,data:H"));
  const std::string none =
      "{msg_iov=[{iov_base=\"\", iov_len=16}], msg_iovlen=1, msg_flags=0}, 0) = 0";
  EXPECT_THAT(EventsOf("1 3.0 R(" + none), ElementsAre("eof,port:10,time:2.0,tid:1"));
  EXPECT_THAT(EventsOf("1 2.0 S({msg_iov=NULL, msg_iovlen=0, msg_flags=0}, 0) = 0\n1 3.0 R(" +
                       none + "\n1 4.0 R(" + none),
              ElementsAre("send,port:10,time:1.0,tid:1,data:", "recv,port:10,time:2.0,tid:1,data:",
                          "eof,port:10,time:3.0,tid:1"));
  // A send of nothing that failed leaves nothing to receive.
  EXPECT_THAT(
      EventsOf("1 2.0 S({msg_iov=NULL, msg_iovlen=0, msg_flags=0}, 0) = -1 EPIPE (x)\n1 3.0 R(" +
               none),
      ElementsAre("fail,port:10,time:1.0,tid:1,errno:EPIPE", "eof,port:10,time:2.0,tid:1"));
  EXPECT_THAT(EventsOf("1 2.0 R( <unfinished ...>\n2 3.0 S(@, 0) = 16\n"
                       "1 4.0 <... recvmsg resumed>@, 0) = 16"),
              ElementsAre("send,port:10,time:2.0,tid:2,data:H,iov:1",
                          "recv,port:10,time:3.0,tid:1,data:H,pending:1"));
  EXPECT_THAT(EventsOf("1 2.0 R( <unfinished ...>\n1 4.0 +++ killed by SIGKILL +++"),
              ElementsAre("recv,port:10,time:3.0,tid:1,data:,killed:true", "exit,time:3.0,pid:1"));
  EXPECT_THAT(EventsOf("1 2.0 R( <unfinished ...>"),
              ElementsAre("recv,port:10,time:1.0,tid:1,data:,killed:true"));
  const std::string truncated =
      "1 3.0 R({msg_iov=[{iov_base=\"HEADER\", iov_len=16}], msg_iovlen=1, "
      "msg_control=[{cmsg_len=28, "
      "cmsg_level=SOL_SOCKET, cmsg_type=SCM_CREDENTIALS, cmsg_data={pid=5, uid=0, gid=0}}, "
      "{cmsg_len=24, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[4, 5]}, {cmsg_len=20, "
      "cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[6]}], msg_flags=";
  EXPECT_THAT(
      EventsOf(truncated + "MSG_TRUNC}, 0) = 16"),
      ElementsAre("recv,port:10,time:2.0,tid:1,data:H,fds:3,rights:2,cred_pid:5,flags:[trunc]"));
  EXPECT_THAT(
      EventsOf(truncated + "MSG_CTRUNC}, 0) = 16"),
      ElementsAre("recv,port:10,time:2.0,tid:1,data:H,fds:3,rights:2,cred_pid:5,flags:[ctrunc]"));
}

TEST(StraceEvents, OfSegments) {
  const std::string announce =
      "S({msg_iov=[{iov_base=\"HEADER\", iov_len=16}], msg_iovlen=1, msg_control=[{cmsg_len=20, "
      "cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[12</memfd:a>(deleted)]}], "
      "msg_flags=0}, 0) = 16";
  const auto bytes = [&](const std::string& lines) {
    return EventsOf(absl::StrCat(lines, "1 3.0 ", announce)).back();
  };
  const std::string sized = "send,port:10,time:2.0,tid:1,data:H,fds:1,iov:1,segment_bytes:2048";
  const std::string unsized = "send,port:10,time:2.0,tid:1,data:H,fds:1,iov:1";
  EXPECT_EQ(bytes("1 2.0 ftruncate(12</memfd:a>(deleted), 2048) = 0\n"), sized);
  EXPECT_EQ(bytes("1 2.0 ftruncate(13</memfd:a>(deleted), 2048) = 0\n"), unsized);
  EXPECT_EQ(bytes("1 2.0 ftruncate(12</memfd:b>(deleted), 2048) = 0\n"), unsized);
  EXPECT_EQ(bytes("2 2.0 ftruncate(12</memfd:a>(deleted), 2048) = 0\n"), unsized);
  EXPECT_EQ(bytes("1 2.0 ftruncate(12, 2048) = 0\n"), unsized);
}

TEST(StraceEvents, OfProcesses) {
  EXPECT_THAT(EventsOf("1 2.0 exit_group(0) = ?\n1 3.0 +++ exited with 0 +++"),
              ElementsAre("exit,time:1.0,pid:1"));
  // A thread's end is not its process's, but its death by a signal is.
  const std::string thread =
      "1 2.0 execve(\"/x\", []) = 0\n1 2.1 clone3({flags=CLONE_VM|CLONE_THREAD}, 88) = 5\n";
  EXPECT_THAT(EventsOf(thread + "5 3.0 S(@, 0) = 16\n5 4.0 +++ exited with 0 +++"),
              ElementsAre("send,port:10,time:2.0,pid:1,tid:5,data:H,iov:1"));
  EXPECT_THAT(EventsOf(thread + "5 4.0 +++ killed by SIGSEGV +++"),
              ElementsAre("exit,time:3.0,pid:1"));
  // Begun by a fork of its own, one that has not returned, one that failed; and by nobody known.
  EXPECT_THAT(
      EventsOf(
          "1 2.0 vfork( <unfinished ...>\n101 3.0 S(@, 0) = 16\n1 4.0 <... vfork resumed>) = 101"),
      ElementsAre("send,port:10,time:2.0,pid:101,tid:101,data:H,iov:1"));
  EXPECT_THAT(EventsOf("1 2.0 fork() = -1 EAGAIN (x)\n5 3.0 S(@, 0) = 16"),
              ElementsAre("send,port:10,time:2.0,tid:5,data:H,iov:1"));
  // A thread that signs with its own number is a process (101 = 0x65), whatever clone returned.
  EXPECT_THAT(EventsOf("1 2.0 clone(flags=SIGCHLD) = 2\n101 3.0 S(@, 0) = 16"),
              ElementsAre("send,port:10,time:2.0,pid:101,tid:101,data:H,iov:1"));
}

TEST(StraceEvents, OfAnotherRecordingBehindTheFirst) {
  EXPECT_THAT(
      EventsOf("1 500.0 S(@, 0) = 16\n1 3.0 S(@, 0) = 16"),
      ElementsAre("send,port:10,time:499.0,tid:1,data:H,iov:1", "close,port:10,time:499.0,tid:1",
                  "send,port:10,time:2.0,tid:1,data:H,iov:1"))
      << "what was open in the first says nothing in the second";
  EXPECT_THAT(EventsOf("1 3.0 S(@, 0) = 16\n1 2.5 S(@, 0) = 16"),
              ElementsAre("send,port:10,time:2.0,tid:1,data:H,iov:1",
                          "send,port:10,time:1.5,tid:1,data:H,iov:1"))
      << "a clock may be set back a little";
  const std::string text =
      absl::StrCat(std::string(kPairText), "1 500.0 S(@, 0) = 16\n1 3.0 S(@, 0) = 16");
  EXPECT_EQ(ReadLines(text, true).events.size(), 3u) << "files of threads are one recording";
  const Read midnight =
      ReadLines(absl::StrReplaceAll(std::string(kPairText), {{"1 1.0 ", "1 23:59:59.5 "}}) +
                "1 00:00:00.5 S(@, 0) = 16");
  EXPECT_THAT(midnight.events, ElementsAre(kOpened, "send,port:10,time:1.0,tid:1,data:H,iov:1"));
}

TEST(StraceEvents, OfSocketsThatWereOpenBefore) {
  const auto met = [](const std::string& header) {
    return ReadLines(absl::StrCat("1 1.0 recvmsg(8<UNIX:[30->31]>, {msg_iov=[{iov_base=\"", header,
                                  "\", iov_len=16}], msg_flags=0}, 0) = 16"))
        .events.size();
  };
  EXPECT_EQ(met(R"(\5\0\0\0\1\0\0\0\0\0\14\0\0\0\0\0)"), 1u);
  EXPECT_EQ(met(R"(\5\0\0\0\0\0\100\0\0\0\14\0\0\0\0\0)"), 1u) << "pid 2^22";
  EXPECT_EQ(met(R"(\5\0\0\0\1\0\100\0\0\0\14\0\0\0\0\0)"), 0u) << "pid 2^22 + 1";
  EXPECT_EQ(met(R"(\5\0\0\0\1\0\0\200\0\0\14\0\0\0\0\0)"), 0u) << "a negative pid";
  EXPECT_EQ(met(R"(\5\0\0\0\1\0\0\0\0\0\41\0\0\0\0\0)"), 1u) << "type 33";
  EXPECT_EQ(met(R"(\5\0\0\0\1\0\0\0\0\0\42\0\0\0\0\0)"), 0u) << "type 34";
  EXPECT_EQ(met(R"(\5\0\0\0\1\0\0\0\0\0\14\2\0\0\0\0)"), 0u) << "last is 2";
  const auto of_bytes = [](const std::string& flags, int bytes) {
    return ReadLines(absl::StrCat("1 1.0 recvmsg(8<UNIX:[30->31]>, {msg_iov=[{iov_base=\"",
                                  R"(\5\0\0\0\1\0\0\0\0\0\14\0\0)", flags, R"(\0)",
                                  "\"..., iov_len=200000}], msg_flags=0}, 0) = ", bytes))
        .events.size();
  };
  EXPECT_EQ(of_bytes(R"(\0\0)", 131072), 1u);
  EXPECT_EQ(of_bytes(R"(\0\0)", 131073), 0u) << "no message is so long";
}

TEST(StraceEvents, NameDamage) {
  const auto damage = [](const std::string& lines) {
    const Read read = ReadLines(absl::StrCat(std::string(kPairText), lines));
    return read.damage.empty() ? "none" : read.damage.front();
  };
  EXPECT_EQ(damage("1 2.0 S(@, 0) = 16"), "none");
  EXPECT_EQ(damage("1 2.0 sendmsg(x, @, 0) = 16"), "2: sendmsg: expected a descriptor");
  EXPECT_THAT(damage("1 2.0 S({x}, 0) = 16"), HasSubstr("2: sendmsg: expected a message header"));
  EXPECT_THAT(damage("1 2.0 S(@, 0) = x"), HasSubstr("2: sendmsg: expected its flags and result"));
  EXPECT_THAT(damage("1 2.0 S(@, 0) = 17"), HasSubstr("given 16 bytes, expected that many"));
  EXPECT_EQ(damage("1 2.0 recvmsg(x, @, 0) = 16"), "2: recvmsg: expected a descriptor");
  EXPECT_THAT(damage("1 2.0 recvmsg(8<UNIX:[10->11]>"),
              HasSubstr("2: recvmsg: expected a message"));
  EXPECT_THAT(damage("1 2.0 R(@, 0) = x"),
              HasSubstr("2: recvmsg: expected a message header {...}"));
  EXPECT_THAT(damage("1 2.0 R(@, 0) = 17"), HasSubstr("returned 17 bytes, but 16 are printed"));
  EXPECT_THAT(damage("1 2.0 <... sendmsg resumed>) = 16"),
              HasSubstr("its beginning was not recorded"));
  EXPECT_THAT(damage("1 2.0 <... recvmsg resumed>@, 0) = 16"), HasSubstr("was not recorded"));
  EXPECT_EQ(damage("1 2.0 <... ftruncate resumed>) = 0"), "none");
  EXPECT_THAT(damage("1 2.0 S(@, 0 <unfinished ...>\n1 3.0 <... sendmsg resumed>) = x"),
              HasSubstr("3: sendmsg: expected a result"));
  EXPECT_THAT(
      damage("1 2.0 S(@, 0 <unfinished ...>\n1 3.0 close(3) = 0"),
      HasSubstr("thread 1 makes another call, but its sendmsg of line 2 was never resumed"));
  EXPECT_THAT(damage("1 2.0 R( <unfinished ...>\n1 3.0 close(3) = 0"),
              HasSubstr("its recvmsg of line 2 was never resumed"));
  EXPECT_EQ(damage("1 2.0 recvmsg(8<UNIX-STREAM:[90]>,  <unfinished ...>\n1 3.0 close(3) = 0"),
            "none");
  EXPECT_THAT(damage("1 2.0 clone(child_stack=0) = 5"), HasSubstr("2: clone: expected its flags"));
  EXPECT_THAT(damage("1 2.0 clone(flags=) = 5"), HasSubstr("2: clone: expected its flags"));
  EXPECT_THAT(damage("1 2.0 clone(flags=SIGCHLD* ) = 5"),
              HasSubstr("2: clone: expected its flags"));
  EXPECT_EQ(damage("1 2.0 clone(flags=SIGCHLD <unfinished ...>\n1 3.0 <... clone resumed>) = 5"),
            "none");
  EXPECT_THAT(damage("1 2.0 fork() = x"), HasSubstr("2: clone: expected a result"));
  EXPECT_THAT(damage("1 2.0 fork( <unfinished ...>\n1 3.0 <... fork resumed>) = x"),
              HasSubstr("3: clone: expected a result"));
  EXPECT_THAT(damage("1 2.0 ftruncate(x, 1) = 0"),
              HasSubstr("2: ftruncate: expected a descriptor"));
  EXPECT_THAT(damage("1 2.0 ftruncate(4</x>, y) = 0"), HasSubstr("2: ftruncate: expected"));
  EXPECT_THAT(damage("1 2.0 socketpair(AF_UNIX, SOCK_SEQPACKET, 0, [8<UNIX:[1->2]>]) = 0"),
              HasSubstr("2: socketpair: expected [FD<...>, FD<...>]) = 0"));
  EXPECT_THAT(damage("garbage"), HasSubstr("2: expected a call, its other half, or an exit"));
  EXPECT_EQ(damage("\r"), "none");
}

}  // namespace
}  // namespace portproof
