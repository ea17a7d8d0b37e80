// What the checker once said too much or too little, by rule.
#include "oracle/checker.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "oracle/testing.h"

namespace portproof {
namespace {

using Rules = std::vector<std::string>;

std::string Exit(int pid) { return "{\"ev\":\"exit\",\"pid\":" + std::to_string(pid) + "}\n"; }

const DatagramText kFirst = {.mf = true};
const DatagramText kMiddle = {.nf = true, .mf = true, .payload = "bb"};
const DatagramText kFinal = {.nf = true, .payload = "cc"};

// A recorder shows the death of a thread inside its send before the receipt of what it sent.
TEST(CheckerTest, Frg2NotOfAFragmentReceivedAfterItsSenderWasKilledInTheSend) {
  for (const DatagramText& last : {kMiddle, kFinal}) {
    EXPECT_EQ(BrokenIn(Both(kFirst) + Send(last, ",\"killed\":true") + Exit(101) + Recv(last)),
              Rules());
  }
}

TEST(CheckerTest, Frg1NotOfTheNextProcessWithThatPid) {
  EXPECT_EQ(BrokenIn(Both(kFirst) + Send(kMiddle, ",\"killed\":true") + Exit(101) + Recv(kMiddle) +
                     Both(kFirst) + Both(kFinal)),
            Rules());
}

// The pid came back, and its new process was killed in a send too.
TEST(CheckerTest, Frg1AndFrg6NotOfAMessageThatAProcessWithThatPidLeftOver) {
  const DatagramText whole = {.type = 11};
  EXPECT_EQ(BrokenIn(Both(kFirst) + Send(kFinal, ",\"killed\":true") + Exit(101) +
                     Send(whole, ",\"killed\":true") + Exit(101) + Recv(whole)),
            Rules());
  const DatagramText begun = {.type = 11, .mf = true};
  EXPECT_EQ(BrokenIn(Both(kFirst) + Send(kFinal, ",\"killed\":true") + Exit(101) +
                     Send(begun, ",\"killed\":true") + Exit(101) + Recv(begun)),
            Rules());
}

TEST(CheckerTest, Frg2NotOfWhatIsReceivedOfTheDeadWhereNoSendIsRecorded) {
  EXPECT_EQ(BrokenIn(Recv(kFirst) + Exit(101) + Recv(kMiddle) + Recv(kFinal)), Rules());
}

TEST(CheckerTest, Frg5NotOfAMessageOfTheDeadWhereNoSendIsRecorded) {
  const DatagramText other = {.stream = 6, .pid = 103};
  EXPECT_EQ(BrokenIn(Exit(101) + Recv(kFirst) + Recv(kMiddle) + Recv(other) + Recv(other)),
            Rules());
}

// One defect is one finding: a datagram without a header may have been any fragment.
TEST(CheckerTest, Hdr1ExplainsOneFindingAboutTheMessagesOfItsSender) {
  const std::string where = "\"port\":\"p\",\"data\":\"05\"";
  const std::string cut = "{\"ev\":\"send\",\"pid\":101,\"tid\":101," + where +
                          "}\n{\"ev\":\"recv\",\"pid\":202,\"tid\":202," + where + "}\n";
  EXPECT_EQ(BrokenIn(cut + Both(kMiddle) + Both(kFinal)), Rules({"HDR-1"}));
  EXPECT_EQ(BrokenIn(Both(kFirst) + cut + Both(kFirst) + Both(kFinal)), Rules({"HDR-1"}));
  EXPECT_EQ(BrokenIn(Both(kFirst) + cut + Both({}) + Both(kFirst) + Both(kFinal)),
            Rules({"HDR-1"}));
  const DatagramText other = {.stream = 6, .nf = true};
  EXPECT_EQ(BrokenIn(cut + Both(kFinal) + Both(other)), Rules({"HDR-1", "FRG-2"}));
}

TEST(CheckerTest, Shm2OfAFinalFragmentThatNamesAChunkOfAnEarlierOne) {
  const std::string hex = "000000000000000064000000";  // segment 0, chunk 0, 100 bytes
  const std::string announcement =
      Send({.stream = 0, .type = 8, .last = true, .payload = ""}, ",\"fds\":1") +
      Recv({.stream = 0, .type = 8, .last = true, .payload = ""}, ",\"fds\":1");
  EXPECT_EQ(BrokenIn(announcement + Both({.mmap = true, .mf = true, .payload = hex}) +
                     Both({.mmap = true, .nf = true, .payload = hex})),
            Rules({"SHM-2"}));
}

TEST(CheckerTest, Shm2NotWhereTheAnnouncementMayHaveBeenToThisReceiver) {
  const DatagramText announcement = {.stream = 0, .type = 8, .last = true, .payload = ""};
  const std::string reference = Both({.mmap = true, .payload = "000000000000000064000000"});
  // Only its receipt is recorded; or its port ended before anybody read it.
  for (const std::string& announced :
       {Recv(announcement, ",\"fds\":1"), Send(announcement, ",\"fds\":1")}) {
    const std::string closed = "{\"ev\":\"close\",\"port\":\"p\"}\n";
    EXPECT_EQ(BrokenIn(absl::StrCat(announced, closed, kOpen, reference)), Rules());
  }
}

TEST(CheckerTest, Frg5StaysExplainedByAnEndThatLostItsNf) {
  const DatagramText end = {.payload = "cc"};
  const DatagramText next = {.type = 11};
  EXPECT_EQ(BrokenIn(Both(kFirst) + Both(end) + Both(next) + Both({.stream = 6})),
            Rules({"FRG-6", "FRG-6"}));
}

// Whatever its length, whichever byte it is.
TEST(CheckerTest, Soc3OfEveryByteThatIsReceivedOtherwise) {
  for (size_t payload = 1; payload <= 50; ++payload) {
    DatagramText sent;
    for (size_t i = 0; i < payload; ++i) absl::StrAppend(&sent.payload, "0", i % 4);
    for (size_t at = 0; at < sent.payload.size(); ++at) {
      DatagramText received = sent;
      received.payload[at] = received.payload[at] == '7' ? '6' : '7';
      ASSERT_EQ(BrokenIn(Send(sent) + Recv(received)), Rules{"SOC-3"}) << payload << " " << at;
    }
    ASSERT_EQ(BrokenIn(Send(sent) + Recv(sent)), Rules()) << payload;
  }
}

// Zeros at the end may be counted instead, as many of them as there are.
TEST(CheckerTest, Soc3NotOfZerosThatAreOnlyCounted) {
  for (size_t payload = 1; payload <= 50; ++payload) {
    for (size_t zeros = 0; zeros <= payload; ++zeros) {
      DatagramText sent = {.payload = std::string(2 * (payload - zeros), '7')};
      const std::string counted = Recv(sent, ",\"data_zero\":" + std::to_string(zeros));
      const std::string fewer = Recv(sent, ",\"data_zero\":" + std::to_string(zeros + 1));
      sent.payload.append(2 * zeros, '0');
      ASSERT_EQ(BrokenIn(Send(sent) + counted), Rules()) << payload << " " << zeros;
      ASSERT_EQ(BrokenIn(Send(sent) + fewer), Rules{"SOC-3"}) << payload << " " << zeros;
    }
  }
}

// Of many zeros not all are kept, wherever the line begins to count them.
TEST(CheckerTest, Soc3NotOfManyZerosCountedFromElsewhere) {
  const DatagramText none = {.payload = ""};
  for (size_t written = 1; written <= 40; ++written) {
    const DatagramText some = {.payload = std::string(2 * written, '0')};
    EXPECT_EQ(BrokenIn(Send(some, ",\"data_zero\":200000") +
                       Recv(none, ",\"data_zero\":" + std::to_string(200000 + written))),
              Rules{"IOV-3"})
        << written;
  }
}

Rules BrokenAs(const std::string& profile, const std::string& events) {
  return Broken(JudgeText("{\"portproof\":1}\n" + kOpen + events, profile));
}

std::string Seen(int pid) { return absl::StrCat(",\"cred_pid\":", pid); }

// A receiver inside a pid namespace is told numbers that mean nothing outside.
TEST(CheckerTest, Hdr7NotOfCredentialsInsideANamespace) {
  const DatagramText known{.pid = 101, .type = 27};
  const DatagramText unknown{.stream = 6, .pid = 105, .type = 27};
  const std::string inside = SendBy(101, known) + RecvBy(202, known, Seen(3)) +
                             "{\"ev\":\"send\",\"port\":\"p\",\"tid\":106,\"data\":\"" +
                             unknown.Hex() + "\"}\n";
  EXPECT_EQ(BrokenAs("unit-1.35.0", inside + RecvBy(202, unknown, Seen(4))), Rules());
  // The same numbers, told to a receiver that sees its other senders as the recorder does.
  const std::string outside = SendBy(101, known) + RecvBy(202, known, Seen(101)) +
                              "{\"ev\":\"send\",\"port\":\"p\",\"tid\":106,\"data\":\"" +
                              unknown.Hex() + "\"}\n";
  EXPECT_EQ(BrokenAs("unit-1.35.0", outside + RecvBy(202, unknown, Seen(4))), Rules{"HDR-7"});
  EXPECT_EQ(BrokenAs("unit-1.35.0", outside + RecvBy(202, unknown, Seen(105))), Rules());
}

TEST(CheckerTest, Hdr7OfReceivesAloneByWhatTheCredentialsShow) {
  const auto told = [](int header_pid, int cred_pid) {
    return RecvBy(202, {.pid = header_pid, .type = 27}, Seen(cred_pid));
  };
  // One sender in a namespace; two senders seen from inside one.
  EXPECT_EQ(BrokenAs("unit-1.35.0", told(3, 101) + told(3, 101)), Rules{"HDR-7"});
  EXPECT_EQ(BrokenAs("unit-1.35.0", told(101, 3) + told(102, 4)), Rules());
  EXPECT_EQ(BrokenAs("unit-1.35.0", told(101, 3) + told(102, 102)), Rules{"HDR-7"});
  // A sender that shows its own number too, before or after; or several others.
  const Rules twice = {"HDR-7", "HDR-7"};
  EXPECT_EQ(BrokenAs("unit-1.35.0", told(101, 101) + told(3, 101) + told(4, 101)), twice);
  EXPECT_EQ(BrokenAs("unit-1.35.0", told(3, 101) + told(3, 101) + told(101, 101)), twice);
  EXPECT_EQ(BrokenAs("unit-1.35.0", told(3, 101) + told(4, 101)), twice);
  EXPECT_EQ(BrokenAs("unit-1.35.0", told(3, 0) + told(4, 0)), Rules());
}

TEST(CheckerTest, Hdr6NotOfTypesThatSpeakForAnother) {
  const DatagramText own{.pid = 101, .type = 27};
  for (const int type : {18, 20, 32}) {  // process_created, whoami, read_queue
    const DatagramText other{.pid = 7, .type = static_cast<uint8_t>(type), .payload = ""};
    EXPECT_EQ(BrokenAs("unit-1.35.0", SendBy(101, own) + SendBy(101, other)), Rules()) << type;
  }
  const DatagramText data{.pid = 7, .type = 27};
  EXPECT_EQ(BrokenAs("unit-1.35.0", SendBy(101, own) + SendBy(101, data)), Rules{"HDR-6"});
}

// Twelve bytes of a shared message, each a run of its own, and the header.
TEST(CheckerTest, Iov3OfMoreIovecsThanThereAreBytes) {
  const auto sent = [](size_t bytes, int iov) {
    return Send({.payload = std::string(2 * bytes, '7')}, absl::StrCat(",\"iov\":", iov));
  };
  EXPECT_EQ(BrokenIn(sent(12, 13)), Rules());
  EXPECT_EQ(BrokenIn(sent(12, 14)), Rules{"IOV-3"});
  EXPECT_EQ(BrokenIn(sent(13, 8)), Rules());
  EXPECT_EQ(BrokenIn(sent(13, 9)), Rules{"IOV-3"});
}

// A sender may be killed between two turns of its queue.
TEST(CheckerTest, Frg5WithoutTimesOnlyOfASenderThatPassedItsTurnBy) {
  DatagramText begun = {.mf = true, .payload = std::string(32768, '7')};
  DatagramText more = begun;
  more.nf = true;
  const std::string one = Both(begun);
  const std::string share = one + Both(more) + Both(more) + Both(more);  // of 65536 bytes
  const DatagramText other = {.stream = 6};
  const DatagramText other_begun = {.stream = 6, .mf = true};
  const DatagramText other_end = {.stream = 6, .nf = true};
  const std::string heard =
      "{\"ev\":\"open\",\"port\":\"q\"}\n"
      "{\"ev\":\"recv\",\"port\":\"q\",\"pid\":101,\"tid\":101,\"data\":\"" +
      DatagramText{.pid = 300}.Hex() + "\"}\n";
  EXPECT_EQ(BrokenIn(one), Rules());
  EXPECT_EQ(BrokenIn(one + Both(other)), Rules{"FRG-5"});
  EXPECT_EQ(BrokenIn(one + Both(other_begun)), Rules());
  EXPECT_EQ(BrokenIn(one + Both(other_begun) + Both(other_end)), Rules{"FRG-5"});
  EXPECT_EQ(BrokenIn(share), Rules());
  EXPECT_EQ(BrokenIn(share + Both(other)), Rules()) << "its turn may not have come";
  EXPECT_EQ(BrokenIn(share + heard + Both(other)), Rules{"FRG-5"});
  EXPECT_EQ(BrokenIn(Both(other_begun) + one + Both(other_end)), Rules()) << "begun before";
}

TEST(CheckerTest, Shm10OfUnknownSegmentsAndShm2OfImpossibleOnes) {
  const auto reference = [](const std::string& id) {
    return Both({.mmap = true, .payload = id + "0000000064000000"});
  };
  EXPECT_EQ(BrokenIn(reference("00000000")), Rules{"SHM-10"});
  EXPECT_EQ(BrokenIn(reference("ff030000")), Rules{"SHM-10"});
  EXPECT_EQ(BrokenIn(reference("00040000")), Rules{"SHM-2"});
}

}  // namespace
}  // namespace portproof
