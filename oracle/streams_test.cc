// Both sides of each condition of the rules on fragments, turns and segments.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "oracle/testing.h"

namespace portproof {
namespace {

using Rules = std::vector<std::string>;

const DatagramText kFirst = {.mf = true};
const DatagramText kMiddle = {.nf = true, .mf = true, .payload = "bb"};
const DatagramText kFinal = {.nf = true, .payload = "cc"};
const Rules kNone = {};

std::string At(int milliseconds) {
  return absl::StrFormat(",\"time\":%.3f", milliseconds / 1000.0);
}
std::string BothAt(int milliseconds, const DatagramText& datagram) {
  return Send(datagram, At(milliseconds)) + Recv(datagram, At(milliseconds));
}
std::string Fail(int pid, const std::string& name, int milliseconds) {
  return EventBy("fail", pid, absl::StrCat(At(milliseconds), ",\"errno\":\"", name, "\""));
}
std::string Exit(int pid, int milliseconds) {
  return absl::StrCat("{\"ev\":\"exit\",\"pid\":", pid, At(milliseconds), "}\n");
}

// FRG-5: 10 ms.
TEST(Stalled, IsAMessageWhoseSenderLivedOn) {
  const DatagramText other = {.stream = 6, .pid = 300};
  EXPECT_EQ(BrokenIn(BothAt(100, kFirst) + BothAt(109, other)), kNone);
  EXPECT_EQ(BrokenIn(BothAt(100, kFirst) + BothAt(110, other)), Rules{"FRG-5"});
  EXPECT_EQ(BrokenIn(BothAt(100, kFirst) + Exit(101, 109) + BothAt(200, other)), kNone);
  EXPECT_EQ(BrokenIn(BothAt(100, kFirst) + Exit(101, 110) + BothAt(200, other)), Rules{"FRG-5"});
  EXPECT_EQ(BrokenIn(BothAt(100, kFirst) + Exit(300, 105) + BothAt(200, other)), Rules{"FRG-5"});
  // The last fragment was received later, or never.
  EXPECT_EQ(BrokenIn(Send(kFirst, At(100)) + Recv(kFirst, At(195)) + BothAt(200, other)), kNone);
  EXPECT_EQ(BrokenIn(BothAt(50, other) + Send(kFirst, At(100)) + BothAt(200, other)), kNone);
  EXPECT_EQ(BrokenIn(BothAt(100, kFirst) + BothAt(101, kMiddle) + BothAt(200, other)),
            Rules{"FRG-5"});
  EXPECT_EQ(BrokenIn(BothAt(100, kFirst) + Send(kMiddle, At(101)) + BothAt(200, other)), kNone);
}

TEST(Stalled, IsNoMessageWhosePortFailedOrWasClosed) {
  const DatagramText other = {.stream = 6, .pid = 300};
  const std::string begun = BothAt(100, kFirst);
  const std::string later = BothAt(200, other);
  for (const std::string name : {"EPIPE", "ECONNRESET", "ECONNREFUSED", "ENOTCONN"}) {
    EXPECT_EQ(BrokenIn(begun + Fail(101, name, 105) + later), kNone) << name;
    EXPECT_EQ(BrokenIn(begun + Fail(101, name, 120) + later), Rules{"FRG-5"}) << name;
    EXPECT_EQ(BrokenIn(begun + Fail(300, name, 105) + later), Rules{"FRG-5"}) << "another's end";
    // The port is over: what follows is not of that message.
    EXPECT_EQ(BrokenIn(begun + Fail(101, name, 101) + BothAt(102, kFinal)), Rules{"FRG-2"}) << name;
    EXPECT_EQ(BrokenIn(begun + Fail(101, name, 101) + BothAt(102, kFirst) + BothAt(103, kFinal)),
              kNone);
  }
  for (const std::string name : {"EMSGSIZE", "EPERM", "EIO"}) {
    EXPECT_EQ(BrokenIn(begun + Fail(101, name, 120) + later), kNone) << name;
    EXPECT_EQ(BrokenIn(begun + Fail(300, name, 120) + later), Rules{"FRG-5"}) << name;
    EXPECT_EQ(BrokenIn(begun + Fail(101, name, 101) + BothAt(102, kFinal)), kNone) << name;
    EXPECT_EQ(BrokenIn(begun + Fail(101, name, 101) + BothAt(102, kFirst) + BothAt(103, kFinal)),
              Rules{"FRG-1"});
  }
  for (const std::string name :
       {"EAGAIN", "EWOULDBLOCK", "EINTR", "ENOBUFS", "ENOMEM", "ETOOMANYREFS"}) {
    EXPECT_EQ(BrokenIn(begun + Fail(101, name, 101) + later), Rules{"FRG-5"}) << name;
  }
  const std::string eof = EventBy("eof", 202, At(105));
  EXPECT_EQ(BrokenIn(begun + eof + later), kNone);
  EXPECT_EQ(BrokenIn(begun + EventBy("close", 101, At(105)) + later), kNone);
  EXPECT_EQ(BrokenIn(begun + EventBy("close", 300, At(105)) + later), Rules{"FRG-5"});
  EXPECT_EQ(BrokenIn(begun + "{\"ev\":\"close\",\"port\":\"p\"" + At(105) + "}\n" + later), kNone);
  EXPECT_EQ(BrokenIn(begun + kOpen + later), kNone) << "begun again at once";
}

TEST(Fragments, RepeatTheirFirst) {
  const auto judged = [](DatagramText middle, DatagramText last = kFinal) {
    return BrokenIn(Both({.reply_port = 3, .mf = true}) + Both(middle) + Both(last));
  };
  const DatagramText middle = {.reply_port = 3, .nf = true, .mf = true};
  const DatagramText last = {.reply_port = 3, .nf = true};
  EXPECT_EQ(judged(middle, last), kNone);
  DatagramText other = middle;
  other.type = 11;
  EXPECT_EQ(judged(other, last), Rules{"FRG-3"});
  other = middle;
  other.reply_port = 4;
  EXPECT_EQ(judged(other, last), Rules{"FRG-3"});
  other = middle;
  other.last = true;
  EXPECT_EQ(judged(other, last), Rules{"FRG-3"}) << "last goes back";
  DatagramText set = last;
  set.last = true;
  EXPECT_EQ(judged(middle, set), kNone) << "last may go up";
  EXPECT_EQ(judged(other, set), kNone);
  other.type = 11;
  EXPECT_EQ(judged(other, last), Rules{"FRG-3"}) << "one defect, one finding";
  DatagramText by_another = last;
  by_another.pid = 103;
  EXPECT_EQ(judged(middle, by_another), Rules{"FRG-3"}) << "to 1.8.0 the stream alone is the key";
}

TEST(Fragments, HavePayload) {
  DatagramText empty = kMiddle;
  empty.payload = "";
  EXPECT_EQ(BrokenIn(Both(kFirst) + Both(empty) + Both(kFinal)), Rules{"FRG-7"});
  EXPECT_EQ(BrokenIn(Both({.payload = ""})), kNone) << "a message of one datagram need not";
}

TEST(Fragments, AreFullUnlessTheIovecsRanOut) {
  const auto judged = [](size_t bytes, int iov, const std::string& rest) {
    DatagramText first = kFirst;
    first.payload = std::string(2 * bytes, '7');
    return BrokenIn(Send(first, absl::StrCat(",\"iov\":", iov)) + Recv(first) + rest);
  };
  const std::string end = Both(kFinal);
  EXPECT_EQ(judged(16384, 2, end), kNone);
  EXPECT_EQ(judged(16383, 2, end), Rules{"IOV-4"});
  EXPECT_EQ(judged(100, 7, end), Rules{"IOV-4"});
  EXPECT_EQ(judged(100, 8, end), kNone);
  EXPECT_EQ(judged(100, 0, end), kNone) << "not known";
  EXPECT_EQ(judged(12, 2, end), kNone) << "perhaps of a shared message";
  EXPECT_EQ(judged(13, 2, end), Rules{"IOV-4"});
  EXPECT_EQ(judged(100, 2, Both(kMiddle) + end), Rules{"IOV-4"});
  EXPECT_EQ(judged(100, 2, ""), Rules{"IOV-4"}) << "it said that more follows";
  EXPECT_EQ(judged(100, 2, Exit(101, 1)), Rules{"IOV-4"});
}

TEST(Fragments, OfAPortSeenFromTheMiddleMayHaveBegunBefore) {
  const auto unopened = [](const std::string& events) {
    return Broken(JudgeText(kFirstLine + events, "unit-0.2"));
  };
  EXPECT_EQ(unopened(Both(kFinal)), kNone);
  EXPECT_EQ(unopened(Both(kMiddle) + Both(kFinal)), kNone);
  EXPECT_EQ(unopened(Both(kFinal) + Both(kFinal)), Rules{"FRG-2"});
  EXPECT_EQ(unopened(Both({}) + Both(kFinal)), Rules{"FRG-2"});
  EXPECT_EQ(unopened(Both(kMiddle) + Both(kFinal) + Both(kFinal)), Rules{"FRG-2"});
  EXPECT_EQ(unopened(Both(kFirst) + Both(kFinal) + Both(kFinal)), Rules{"FRG-2"});
  EXPECT_EQ(BrokenIn(Both(kFinal)), Rules{"FRG-2"});
  // Its sender's death ends it, as any other.
  const std::string later = BothAt(200, {.stream = 6, .pid = 300});
  EXPECT_EQ(unopened(BothAt(100, kMiddle) + Exit(101, 105) + later), kNone);
  EXPECT_EQ(unopened(BothAt(100, kMiddle) + later), Rules{"FRG-5"});
}

TEST(Fragments, OfARefusedMessageAreNoFindingOfTheirOwn) {
  EXPECT_EQ(BrokenIn(Both(kMiddle) + Both(kMiddle) + Both(kFinal)), Rules{"FRG-2"});
  EXPECT_EQ(BrokenIn(Both(kMiddle) + Both(kFinal) + Both(kFinal)), Rules({"FRG-2", "FRG-2"}));
  EXPECT_EQ(BrokenIn(Both(kFirst) + Both(kFirst) + Both(kFinal) + Both(kFinal)), Rules{"FRG-1"});
  EXPECT_EQ(BrokenIn(Both(kFirst) + Both(kFirst) + Both(kFinal) + Both(kFinal) + Both(kFinal)),
            Rules({"FRG-1", "FRG-2"}));
}

// The stream alone is the key to 1.8.0; with the sender from then on.
TEST(Fragments, OfTwoSendersCollideByStreamAlone) {
  const auto judged = [](const std::string& profile) {
    std::string text = absl::StrCat("{\"portproof\":1}\n", kOpen);
    for (const int pid : {101, 103}) {
      absl::StrAppend(&text, Both({.pid = pid, .type = 15, .mf = true}));
    }
    for (const int pid : {101, 103}) {
      absl::StrAppend(&text, Both({.pid = pid, .type = 15, .nf = true}));
    }
    return Broken(JudgeText(text, profile));
  };
  EXPECT_EQ(judged("unit-1.8.0"), Rules{"FRG-1"});
  EXPECT_EQ(judged("unit-1.9.0"), kNone);
}

// SND-5: 65536 bytes, headers included.
TEST(Turns, EndWithTheShare) {
  const auto filled = [](uint32_t stream, size_t bytes, bool nf) {
    return Both({.stream = stream, .nf = nf, .mf = true, .payload = std::string(2 * bytes, '7')});
  };
  const auto used = [&](uint32_t stream, size_t bytes) {
    return filled(stream, 16384, false) + filled(stream, 16384, true) +
           filled(stream, 16384, true) + filled(stream, bytes, true);
  };
  const auto end = [](uint32_t stream) { return Both({.stream = stream, .nf = true}); };
  const std::string other = filled(6, 16384, false);
  const std::string ends = end(5) + end(6);
  EXPECT_EQ(BrokenIn(other + used(5, 16320) + ends), Rules{"SND-5"}) << "65536 bytes";
  EXPECT_EQ(BrokenIn(other + used(5, 16319) + ends), kNone) << "65535 bytes";
  EXPECT_EQ(BrokenIn(other + used(5, 16320) + filled(6, 16384, true) + ends), kNone);
  EXPECT_EQ(BrokenIn(used(5, 16320) + other + ends), kNone) << "it went on since";
  EXPECT_EQ(BrokenIn(used(5, 16320) + end(5) + other + end(6)), kNone) << "no other waits";
  EXPECT_EQ(BrokenIn(absl::StrCat(Both({.stream = 6, .pid = 103, .mf = true}), used(5, 16320),
                                  end(5), Both({.stream = 6, .pid = 103, .nf = true}))),
            kNone)
      << "another process takes no turns with it";
}

DatagramText Announcement() { return {.stream = 0, .type = 8, .last = true, .payload = ""}; }
DatagramText Naming(int id) {
  return {.mmap = true, .payload = absl::StrCat("0", id, "0000000000000064000000")};
}
const std::string kWithFd = ",\"fds\":1";

std::string OnPort(const std::string& port, const std::string& event) {
  std::string text = event;
  for (size_t at = text.find("\"p\""); at != std::string::npos; at = text.find("\"p\"", at + 1)) {
    text.replace(at, 3, "\"" + port + "\"");
  }
  return text;
}

// By process and process, whatever the port.
TEST(Segments, AreAnnouncedToTheProcessThatIsToldOfThem) {
  const std::string q = OnPort("q", kOpen);
  const std::string announced_202 =
      SendBy(101, Announcement(), kWithFd) + RecvBy(202, Announcement(), kWithFd);
  const std::string announced_203 =
      OnPort("q", SendBy(101, Announcement(), kWithFd) + RecvBy(203, Announcement(), kWithFd));
  const auto named = [](int id, int to) {
    return SendBy(101, Naming(id)) + RecvBy(to, Naming(id));
  };
  EXPECT_EQ(BrokenIn(announced_202 + named(0, 202)), kNone);
  EXPECT_EQ(BrokenIn(q + announced_203 + named(0, 202)), Rules{"SHM-10"});
  EXPECT_EQ(BrokenIn(q + announced_203 + OnPort("q", named(0, 203))), kNone);
  EXPECT_EQ(BrokenIn(q + announced_202 + OnPort("q", named(0, 202))), kNone)
      << "another port of it";
  EXPECT_EQ(BrokenIn(announced_202 + named(1, 202)), Rules{"SHM-10"});
  EXPECT_EQ(BrokenIn(announced_202 + announced_202 + named(1, 202) + named(0, 202)), kNone);
  EXPECT_EQ(BrokenIn(named(0, 202) + announced_202), Rules{"SHM-10"}) << "too late";
  EXPECT_EQ(BrokenIn(SendBy(103, Announcement(), kWithFd) + RecvBy(202, Announcement(), kWithFd) +
                     named(0, 202)),
            (Rules{"SHM-10", "HDR-7"}))
      << "another sender's; its header says 101 throughout";
}

TEST(Segments, MayHaveBeenAnnouncedBeforeTheTrace) {
  const std::string named = SendBy(101, Naming(0)) + RecvBy(202, Naming(0));
  EXPECT_EQ(BrokenIn(named), Rules{"SHM-10"});
  EXPECT_EQ(Broken(JudgeText(kFirstLine + named, "unit-0.2")), kNone);
  // A port of that sender, or of that receiver, was open before.
  const std::string before = OnPort("q", SendBy(101, {}) + RecvBy(300, {}));
  EXPECT_EQ(BrokenIn(before + named), kNone);
  EXPECT_EQ(BrokenIn(named + before), kNone);
  const std::string other = OnPort("q", SendBy(300, {.pid = 300}) + RecvBy(301, {.pid = 300}));
  EXPECT_EQ(BrokenIn(other + named), Rules{"SHM-10"});
}

TEST(Segments, HaveOneOfTwoSizes) {
  const auto sized = [](uint64_t bytes) {
    return BrokenIn(Send(Announcement(), absl::StrCat(kWithFd, ",\"segment_bytes\":", bytes)));
  };
  EXPECT_EQ(sized(10489856), kNone);
  EXPECT_EQ(sized(2048), kNone);
  EXPECT_EQ(sized(2049), Rules{"SHM-8"});
  EXPECT_EQ(sized(0), kNone) << "not known";
}

// References count in the chunks of the file that was announced.
TEST(Segments, AreCountedInTheirOwnChunks) {
  const auto named = [](uint64_t bytes, const std::string& reference) {
    return BrokenIn(Send(Announcement(), absl::StrCat(kWithFd, ",\"segment_bytes\":", bytes)) +
                    Recv(Announcement(), kWithFd) + Both({.mmap = true, .payload = reference}));
  };
  EXPECT_EQ(named(2048, "000000003f00000010000000"), kNone);
  EXPECT_EQ(named(2048, "000000003f00000011000000"), Rules{"SHM-2"});
  EXPECT_EQ(named(2048, "000000004000000001000000"), Rules{"SHM-2"});
  EXPECT_EQ(named(10489856, "000000007f02000000400000"), kNone);
  EXPECT_EQ(named(10489856, "000000007f02000001400000"), Rules{"SHM-2"});
  EXPECT_EQ(named(10489856, "000000008002000001000000"), Rules{"SHM-2"});
  EXPECT_EQ(named(10489856, "000000000000000000000000"), Rules{"SHM-2"});
  EXPECT_EQ(named(10489856, "00000000000000000a000000000000000000000001000000"), Rules{"SHM-2"});
  EXPECT_EQ(named(10489856, "00000000000000000a000000000000000100000001000000"), kNone);
  EXPECT_EQ(named(10489856, "0000000000000000"), Rules{"SHM-1"});
  EXPECT_EQ(named(10489856, ""), Rules{"SHM-1"});
}

// IOV-3: as many references as fit behind the tracking, and 79 at most.
TEST(Segments, AreNamedByAsManyReferencesAsFit) {
  const auto judged = [](int max_size, int references, bool tracked) {
    DatagramText named = {.type = 18, .mmap = true, .payload = tracked ? "0000000001000000" : ""};
    for (int i = 0; i < references; ++i) {
      absl::StrAppend(&named.payload, "00000000", absl::StrFormat("%02x00000001000000", 2 * i));
    }
    std::string hex = named.Hex();
    if (tracked) hex[31] = '1';
    const DatagramText announced = {.stream = 0, .type = 11, .last = true, .payload = ""};
    return Broken(JudgeText(
        absl::StrCat("{\"portproof\":1}\n{\"ev\":\"open\",\"port\":\"p\",\"max_size\":", max_size,
                     "}\n", Send(announced, kWithFd), Recv(announced, kWithFd),
                     EventBy("send", 101, ",\"data\":\"" + hex + "\"")),
        "unit-1.18.0"));
  };
  EXPECT_EQ(judged(100, 7, false), kNone);
  EXPECT_EQ(judged(100, 8, false), Rules{"IOV-3"});
  EXPECT_EQ(judged(100, 6, true), kNone);
  EXPECT_EQ(judged(100, 7, true), Rules{"IOV-3"});
  EXPECT_EQ(judged(16384, 79, false), kNone);
  EXPECT_EQ(judged(16384, 80, false), Rules{"IOV-3"});
}

TEST(Truncation, IsItsReceiversUnlessTheDatagramWasWrong) {
  const DatagramText good = {};
  EXPECT_EQ(BrokenIn(Send(good) + Recv(good, ",\"flags\":[\"ctrunc\"]")), Rules{"RCV-1"});
  EXPECT_EQ(BrokenIn(Send(good) + Recv({.payload = ""}, ",\"size\":16,\"flags\":[\"trunc\"]")),
            Rules{"RCV-1"});
  EXPECT_EQ(BrokenIn(Send(good) + Recv({.payload = ""}, ",\"size\":16")), Rules{"SOC-3"});
  EXPECT_EQ(BrokenIn(Recv(good, ",\"flags\":[\"trunc\",\"ctrunc\"]")), Rules{"RCV-1"});
  const std::string two = ",\"fds\":2";
  EXPECT_EQ(BrokenIn(Send(good, two) + Recv(good, ",\"flags\":[\"ctrunc\"]")), Rules{"FDS-2"});
  EXPECT_EQ(BrokenIn(Send(good, kWithFd) + Recv(good)), Rules{"SOC-3"}) << "a descriptor is gone";
  EXPECT_EQ(BrokenIn(Send(good, kWithFd) + Recv(good, ",\"flags\":[\"ctrunc\"]")), Rules{"RCV-1"});
}

}  // namespace
}  // namespace portproof
