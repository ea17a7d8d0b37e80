// The facts a reader of strace text must know, one test each.
#include "oracle/strace_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "oracle/testing.h"

namespace portproof {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view kPair =
    "socketpair(AF_UNIX, SOCK_SEQPACKET, 0, [8<UNIX:[10->11]>, 9<UNIX:[11->10]>]) = 0";

// "\x05\x00..." as -xx prints it.
std::string Escaped(const DatagramText& datagram) {
  std::string text;
  const std::string hex = datagram.Hex();
  for (size_t i = 0; i < hex.size(); i += 2) absl::StrAppend(&text, "\\x", hex.substr(i, 2));
  return text;
}

std::string Message(const std::string& bytes, const std::string& control = "msg_controllen=0",
                    const std::string& flags = "0") {
  return absl::StrCat("{msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base=\"", bytes,
                      "\", iov_len=16384}], msg_iovlen=1, ", control, ", msg_flags=", flags, "}");
}

std::string SendCall(const DatagramText& datagram) {
  return absl::StrCat("sendmsg(9<UNIX:[11->10]>, ", Message(Escaped(datagram)),
                      ", 0) = ", datagram.Hex().size() / 2);
}

std::string RecvCall(const DatagramText& datagram) {
  return absl::StrCat("recvmsg(8<UNIX:[10->11]>, ", Message(Escaped(datagram)),
                      ", 0) = ", datagram.Hex().size() / 2);
}

// Lines of threads, a millisecond apart.
class Strace {
 public:
  Strace& Line(int tid, const std::string& text) {
    absl::StrAppendFormat(&text_, "%-5d 1795402788.%06d %s\n", tid, ++milliseconds_ * 1000, text);
    return *this;
  }
  Strace& Raw(const std::string& text) {
    absl::StrAppend(&text_, text, "\n");
    return *this;
  }
  TraceReport Judge(const std::string& profile = "unit-0.2") const {
    return JudgeText(text_, profile);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  int milliseconds_ = 0;
};

const DatagramText kData{.pid = 101};

Strace Started() {
  return Strace()
      .Line(202, "execve(\"/unitd\", [\"unitd\"], 0x7ffe /* 9 vars */) = 0")
      .Line(202, std::string(kPair))
      .Line(202, "fork() = 101");
}

TEST(StraceReader, JoinsUnfinishedAndResumedHalves) {
  const std::string send = SendCall(kData);
  const size_t cut = send.rfind(") =");
  Strace trace = Started();
  trace.Line(101, send.substr(0, cut) + " <unfinished ...>")
      .Line(202, "recvmsg(8<UNIX:[10->11]>,  <unfinished ...>")
      .Line(202, absl::StrCat("<... recvmsg resumed>", Message(Escaped(kData)), ", 0) = 17"))
      .Line(101, "<... sendmsg resumed>) = 17");
  const TraceReport report = trace.Judge();
  EXPECT_THAT(Broken(report), IsEmpty());
  EXPECT_EQ(report.result.counts.datagrams, 1u);
  EXPECT_EQ(report.result.counts.received, 1u);
  EXPECT_EQ(report.result.counts.undelivered, 0u);
  EXPECT_EQ(report.result.counts.processes, 2u);
  EXPECT_EQ(report.log.damaged_count, 0u);
}

TEST(StraceReader, OrdersSendsByTheirEntryAndNotTheirReturn) {
  const DatagramText first{.stream = 1, .pid = 101};
  const DatagramText second{.stream = 2, .pid = 102, .type = 77};
  const std::string begun = SendCall(first);
  Strace trace = Started();
  trace.Line(202, "fork() = 102")
      .Line(101, begun.substr(0, begun.rfind(") =")) + " <unfinished ...>")
      .Line(102, SendCall(second))
      .Line(101, "<... sendmsg resumed>) = 17");
  const TraceReport report = trace.Judge();
  ASSERT_THAT(Broken(report), ElementsAre("HDR-4"));
  EXPECT_EQ(report.result.findings[0].datagram, 2u);
  EXPECT_EQ(report.result.findings[0].line, 6u);
}

TEST(StraceReader, ReadsOtherSpellingsOfSockets) {
  std::string text = Started().Line(101, SendCall(kData)).Line(202, RecvCall(kData)).text();
  for (const std::string kind : {"UNIX-SEQPACKET:[", "UNIX-DGRAM:["}) {
    std::string other = text;
    for (size_t at = other.find("UNIX:["); at != std::string::npos;
         at = other.find("UNIX:[", at + 6))
      other.replace(at, 6, kind);
    EXPECT_EQ(JudgeText(other, "unit-0.2").result.counts.datagrams, 1u) << kind;
  }
  std::string named = text;
  for (size_t at = named.find("->11]"); at != std::string::npos; at = named.find("->11]", at + 9)) {
    named.replace(at, 5, "->11,@\"\\x61]>\"]");
  }
  EXPECT_EQ(JudgeText(named, "unit-0.2").result.counts.received, 1u);
  EXPECT_EQ(JudgeText(named, "unit-0.2").log.damaged_count, 0u);
}

TEST(StraceReader, KnowsThePairWhereOnlyOwnEndsAreNamed) {
  const TraceReport report =
      Strace()
          .Line(202, "socketpair(AF_UNIX, SOCK_SEQPACKET, 0, [8<socket:[10]>, 9<socket:[11]>]) = 0")
          .Line(101, absl::StrCat("sendmsg(9<socket:[11]>, ", Message(Escaped(kData)), ", 0) = 17"))
          .Line(202, absl::StrCat("recvmsg(8<socket:[10]>, ", Message(Escaped(kData)), ", 0) = 17"))
          .Judge();
  EXPECT_EQ(report.result.counts.datagrams, 1u);
  EXPECT_EQ(report.result.counts.undelivered, 0u);
}

TEST(StraceReader, ReadsQuotedTextAndEscapes) {
  const TraceReport report =
      Started()
          .Line(101, absl::StrCat("sendmsg(9<UNIX:[11->10]>, ",
                                  Message(R"(\5\0\0\0e\0\0\0\0\0\f\0\0\0\0\0\"\\\n\tA\377)"),
                                  ", 0) = 22"))
          .Line(202, RecvCall({.pid = 101, .payload = "225c0a0941ff"}))
          .Judge();
  EXPECT_THAT(Broken(report), IsEmpty());
  EXPECT_EQ(report.result.counts.datagrams, 1u);
  EXPECT_EQ(report.result.counts.undelivered, 0u);
}

TEST(StraceReader, JudgesTheHeaderWhereTheStringWasCut) {
  const DatagramText unknown{.pid = 101, .type = 99, .payload = "aabbccdd"};
  const std::string cut =
      absl::StrCat("{msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base=\"", Escaped(unknown),
                   "\"..., iov_len=500}], msg_iovlen=1, msg_controllen=0, msg_flags=0}");
  const TraceReport report =
      Started()
          .Line(101, absl::StrCat("sendmsg(9<UNIX:[11->10]>, ", cut, ", 0) = 500"))
          .Line(202, absl::StrCat("recvmsg(8<UNIX:[10->11]>, ", cut, ", 0) = 500"))
          .Judge();
  EXPECT_THAT(Broken(report), ElementsAre("HDR-4"));
  EXPECT_EQ(report.result.counts.bytes, 500u);
  EXPECT_EQ(report.result.counts.undelivered, 0u);
}

TEST(StraceReader, CountsNothingForFailedSends) {
  const std::string send = SendCall(kData);
  const std::string failed =
      send.substr(0, send.rfind("= ")) + "= -1 EAGAIN (Resource temporarily unavailable)";
  const TraceReport report = Started().Line(101, failed).Judge();
  EXPECT_EQ(report.result.counts.datagrams, 0u);
  EXPECT_EQ(report.result.counts.ports, 1u);
  EXPECT_EQ(report.log.damaged_count, 0u);
}

TEST(StraceReader, CountsAKilledSendOnlyIfItWasReceived) {
  const std::string send = SendCall(kData);
  const std::string killed = send.substr(0, send.rfind("= ")) + "= ?";
  const Counts lost =
      Started().Line(101, killed).Line(101, "+++ killed by SIGKILL +++").Judge().result.counts;
  EXPECT_EQ(lost.datagrams, 0u);
  EXPECT_EQ(lost.undelivered, 0u);
  const Counts arrived = Started()
                             .Line(101, killed)
                             .Line(101, "+++ killed by SIGKILL +++")
                             .Line(202, RecvCall(kData))
                             .Judge()
                             .result.counts;
  EXPECT_EQ(arrived.datagrams, 1u);
  EXPECT_EQ(arrived.received, 1u);
  EXPECT_EQ(arrived.undelivered, 0u);
}

TEST(StraceReader, TellsAnEmptyDatagramFromEndOfFile) {
  const std::string empty =
      "recvmsg(8<UNIX:[10->11]>, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base=\"\", "
      "iov_len=16384}], "
      "msg_iovlen=1, msg_controllen=0, msg_flags=0}, 0) = 0";
  const TraceReport end =
      Started().Line(101, SendCall(kData)).Line(202, RecvCall(kData)).Line(202, empty).Judge();
  EXPECT_THAT(Broken(end), IsEmpty());
  EXPECT_EQ(end.result.counts.received, 1u);
  const std::string send_empty =
      "sendmsg(9<UNIX:[11->10]>, {msg_name=NULL, msg_namelen=0, msg_iov=NULL, msg_iovlen=0, "
      "msg_controllen=0, msg_flags=0}, 0) = 0";
  const TraceReport short_one =
      Started().Line(101, send_empty).Line(202, empty).Line(202, empty).Judge();
  EXPECT_THAT(Broken(short_one), ElementsAre("HDR-8"));
  EXPECT_EQ(short_one.result.counts.received, 1u);
}

TEST(StraceReader, PassesOverSocketsThatAreNoPorts) {
  const TraceReport report =
      Started()
          .Line(101, "sendmsg(5<UNIX-STREAM:[70->71,\"/run/control.sock\"]>, " +
                         Message("\\x48\\x54") + ", 0) = 2")
          .Line(101, "sendmsg(6<UNIX:[80->81,@\"log\"]>, " +
                         Message("\\x3c\\x33\\x30\\x3e\\x4e\\x6f\\x76\\x20\\x32\\x33\\x20\\x30\\x33"
                                 "\\x3a\\x30\\x33\\x3a\\x31\\x34") +
                         ", MSG_NOSIGNAL) = 19")
          .Line(101, "recvmsg(7<NETLINK:[ROUTE:5]>, " + Message("\\x48") + ", 0) = 1")
          .Line(101,
                "socketpair(AF_UNIX, SOCK_STREAM, 0, [3<UNIX-STREAM:[90->91]>, "
                "4<UNIX-STREAM:[91->90]>]) = 0")
          .Line(101, "setsockopt(6<UNIX-STREAM:[43207]>, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0")
          .Judge();
  EXPECT_THAT(Broken(report), IsEmpty());
  EXPECT_EQ(report.result.counts.ports, 1u);
  EXPECT_EQ(report.result.counts.datagrams, 0u);
  EXPECT_EQ(report.log.damaged_count, 0u);
}

constexpr std::string_view kThreadFlags =
    "CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM";

TEST(StraceReader, JoinsThreadsIntoProcesses) {
  const DatagramText by_thread{.pid = 101};
  const TraceReport report =
      Started()
          .Line(101, absl::StrCat("clone3({flags=", std::string(kThreadFlags),
                                  ", exit_signal=0} => {parent_tid=[150]}, 88) = 150"))
          .Line(150, SendCall(by_thread))
          .Line(150, "+++ exited with 0 +++")
          .Line(101, SendCall(by_thread))
          .Judge();
  EXPECT_THAT(Broken(report), IsEmpty());
  EXPECT_EQ(report.result.counts.processes, 1u);
}

TEST(StraceReader, AttributesAThreadThatSendsBeforeItsCloneReturns) {
  const TraceReport report =
      Started()
          .Line(101, absl::StrCat("clone(child_stack=0x7f, flags=", std::string(kThreadFlags),
                                  " <unfinished ...>"))
          .Line(150, SendCall(kData))
          .Line(101, "<... clone resumed>, parent_tid=[150]) = 150")
          .Line(101, SendCall(kData))
          .Judge();
  EXPECT_THAT(Broken(report), IsEmpty());
  EXPECT_EQ(report.result.counts.processes, 1u);
}

TEST(StraceReader, ReadsControlData) {
  const std::string control =
      "msg_control=[{cmsg_len=28, cmsg_level=SOL_SOCKET, cmsg_type=SCM_CREDENTIALS, "
      "cmsg_data={pid=101, uid=0, gid=0}}, "
      "{cmsg_len=24, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, "
      "cmsg_data=[10<TCP:[127.0.0.1:1->127.0.0.1:2]>, "
      "11</a,b>(deleted)]}], msg_controllen=56";
  const DatagramText data{.pid = 101, .type = 27};
  const TraceReport report =
      Started()
          .Line(
              101,
              absl::StrCat(
                  "sendmsg(9<UNIX:[11->10]>, ",
                  Message(Escaped(data),
                          "msg_control=[{cmsg_len=24, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, "
                          "cmsg_data=[4<UNIX:[1->2]>, 5<\\x2f>]}], msg_controllen=24"),
                  ", 0) = 17"))
          .Line(202, absl::StrCat("recvmsg(8<UNIX:[10->11]>, ", Message(Escaped(data), control),
                                  ", 0) = 17"))
          .Judge("unit-1.35.0");
  EXPECT_THAT(Broken(report), IsEmpty());
  EXPECT_EQ(report.result.counts.two_fd_datagrams, 1u);
  EXPECT_EQ(report.log.damaged_count, 0u);
}

TEST(StraceReader, SeesTruncation) {
  const TraceReport report = Started()
                                 .Line(101, SendCall(kData))
                                 .Line(202, absl::StrCat("recvmsg(8<UNIX:[10->11]>, ",
                                                         Message(Escaped(kData), "msg_controllen=0",
                                                                 "MSG_CTRUNC|MSG_CMSG_CLOEXEC"),
                                                         ", 0) = 17"))
                                 .Judge();
  EXPECT_THAT(Broken(report), ElementsAre("RCV-1"));
  EXPECT_EQ(report.result.findings[0].pid, 202);
}

TEST(StraceReader, ReadsOtherPrefixesTimesAndDurations) {
  const std::string send = SendCall(kData);
  for (const std::string prefix :
       {"[pid   101] 1795402788.000001 ", "101 06:15:59.000001 ", "101   06:15:59 ", "101 ", ""}) {
    const TraceReport report = JudgeText(
        absl::StrCat(prefix, std::string(kPair), "\n", prefix, send, " <0.000012>\n"), "unit-0.2");
    EXPECT_EQ(report.result.counts.datagrams, 1u) << prefix;
    EXPECT_EQ(report.log.damaged_count, 0u) << prefix;
  }
}

TEST(StraceReader, BeginsANewPortWhereAnInodeComesBack) {
  const DatagramText begun{.pid = 101, .mf = true};
  Strace trace = Started();
  trace.Line(101, SendCall(begun)).Line(202, std::string(kPair)).Line(101, SendCall(begun));
  EXPECT_EQ(trace.Judge().result.counts.ports, 2u);
  for (const std::string& rule : Broken(trace.Judge())) EXPECT_NE(rule, "FRG-1");
}

TEST(StraceReader, NamesDamagedLinesAndGoesOn) {
  const TraceReport report = Started()
                                 .Raw("\x01\xff noise")
                                 .Line(101, SendCall(kData).substr(0, 90))
                                 .Line(101, "<... sendmsg resumed>) = 17")
                                 .Line(101, SendCall(kData))
                                 .Judge();
  EXPECT_EQ(report.log.damaged_count, 3u);
  EXPECT_EQ(report.log.damaged[0].line, 4u);
  EXPECT_EQ(report.log.damaged[1].line, 5u);
  EXPECT_EQ(report.log.damaged[2].line, 6u);
  EXPECT_EQ(report.result.counts.datagrams, 1u);
}

TEST(StraceReader, TakesASendWhoseReturnIsMissingForPerhapsSent) {
  const std::string send = SendCall(kData);
  Strace trace = Started();
  trace.Line(101, send.substr(0, send.rfind(") =")) + " <unfinished ...>")
      .Line(101, SendCall(kData));
  const TraceReport report = trace.Judge();
  EXPECT_EQ(report.result.counts.datagrams, 1u);
  ASSERT_EQ(report.log.damaged_count, 1u);
  EXPECT_THAT(report.log.damaged[0].what,
              testing::HasSubstr("sendmsg of line 4 was never resumed"));
}

TEST(StraceReader, SaysWhichOptionIsMissingWhereNoSocketIsDescribed) {
  const auto report = Judge(
      {"x",
       {WriteFile("bare",
                  "101 1.0 sendmsg(9, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base=\"\", "
                  "iov_len=0}], msg_iovlen=1, msg_controllen=0, msg_flags=0}, 0) = 0\n")}},
      {});
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(std::string(report.status().message()), testing::HasSubstr("-yy"));
}

TEST(StraceReader, JoinsTheFilesOfARecordingPerThread) {
  const std::string main =
      "1.000000 " + std::string(kPair) + "\n1.001000 fork() = 101\n1.002000 " + RecvCall(kData) +
      "\n1.009000 recvmsg(8<UNIX:[10->11]>, {msg_namelen=0}, 0) = -1 EAGAIN (x)\n";
  const std::string child = "1.005000 " + SendCall(kData) +
                            "\n1.006000 exit_group(0) = ?\n1.007000 +++ exited with 0 +++\n";
  const std::vector<TraceInput> inputs =
      GroupInputs({WriteFile("ff.202", main), WriteFile("ff.101", child)});
  ASSERT_EQ(inputs.size(), 1u);
  EXPECT_THAT(inputs[0].name, testing::EndsWith("/ff"));
  JudgeOptions options;
  options.profile = "unit-0.2";
  const auto report = Judge(inputs[0], options);
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(Broken(*report), IsEmpty());
  EXPECT_EQ(report->result.counts.datagrams, 1u);
  EXPECT_EQ(report->result.counts.undelivered, 0u);
  EXPECT_EQ(report->result.counts.processes, 2u);
}

TEST(StraceReader, TakesNoPidFromALineThatLostItsBeginning) {
  // "12202 1795..." cut to "02 1795...": another process, if it were believed.
  const std::string cut = absl::StrCat("02 1795402788.000001 ", SendCall(kData),
                                       "\n12202 1795402788.000002 ", std::string(kPair), "\n");
  const TraceReport report = JudgeText(cut, "unit-0.2");
  EXPECT_EQ(report.log.damaged_count, 1u);
  EXPECT_EQ(report.result.counts.datagrams, 0u);
}

TEST(StraceReader, JudgesARecordingBegunInTheMiddleByWhatItHas) {
  const TraceReport report =
      Strace()
          .Line(202, RecvCall({.pid = 101, .nf = true}))
          .Line(101, SendCall({.stream = 6, .pid = 101, .nf = true}))
          .Line(202, RecvCall({.stream = 6, .pid = 101, .nf = true}))
          .Line(101,
                SendCall(
                    {.stream = 7, .pid = 101, .mmap = true, .payload = "000000000000000001000000"}))
          .Judge();
  EXPECT_THAT(Broken(report), IsEmpty());
  EXPECT_EQ(report.result.counts.datagrams, 2u);
}

// No kernel gives it, a text may.
TEST(StraceReader, NamesAPortWhateverItsInode) {
  for (const std::string inode : {"0", "1", "18446744073709551", "9999999999999999999"}) {
    const TraceReport report =
        Strace()
            .Line(202, absl::StrCat("recvmsg(8<UNIX:[", inode, "->11]>, ",
                                    Message(Escaped({.type = 77})), ", 0) = 17"))
            .Judge("unit-1.35.0");
    ASSERT_THAT(Broken(report), IsEmpty()) << inode;
    const TraceReport shown =
        Strace()
            .Line(202, absl::StrCat("recvmsg(8<UNIX:[", inode, "->11]>, ",
                                    Message(Escaped({.type = 12})), ", 0) = 17"))
            .Judge("unit-1.35.0");
    ASSERT_THAT(Broken(shown), ElementsAre("FDS-6")) << inode;
    EXPECT_EQ(shown.result.findings[0].port, inode);
  }
}

}  // namespace
}  // namespace portproof
