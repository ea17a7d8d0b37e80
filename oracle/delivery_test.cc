// Which receive is which send, where several threads send and receive.
#include "oracle/delivery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace portproof {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using enum Match::Kind;

class DeliveryTest : public testing::Test {
 protected:
  // The datagram of that content; the sender's pid is its thread.
  void Send(int tid, const std::string& content, bool killed = false) {
    Sent sent;
    sent.print = PrintOf(Of(content));
    sent.sequence = ++sequence_;
    sent.slot = sequence_;
    sent.pid = tid;
    sent.killed = killed;
    delivery_.Push(tid, sent);
  }
  // Receives it in a call that `pending` events happened in; the slot of its send, 0 for none.
  uint64_t Receive(const std::string& content, uint64_t pending = 0, int cred_pid = kNoPid) {
    Event event = Of(content);
    event.cred_pid = cred_pid;
    ++sequence_;
    delivery_.Take(event, sequence_ - 1 - pending, sequence_, match_);
    return match_.sent ? match_.sent->slot : 0;
  }
  std::vector<uint64_t> Lost() {
    std::vector<uint64_t> slots;
    for (const Sent& sent : delivery_.TakeLost()) slots.push_back(sent.slot);
    return slots;
  }
  Match::Kind kind() const { return match_.kind; }

  Delivery delivery_;
  Match match_;
  uint64_t sequence_ = 0;

 private:
  Event Of(const std::string& content) {
    bytes_.assign(content.begin(), content.end());
    Event event;
    event.data = bytes_;
    event.size = bytes_.size();
    return event;
  }
  std::vector<uint8_t> bytes_;
};

TEST_F(DeliveryTest, TakesThreadsInAnyOrderAndEachInItsOwn) {
  Send(1, "a");
  Send(2, "b");
  Send(1, "c");
  EXPECT_EQ(Receive("b"), 2u);
  EXPECT_EQ(Receive("a"), 1u);
  EXPECT_EQ(Receive("c"), 3u);
  EXPECT_EQ(kind(), kSame);
  EXPECT_EQ(delivery_.outstanding(), 0u);
  EXPECT_THAT(Lost(), IsEmpty());
}

TEST_F(DeliveryTest, PrefersTheSenderThatTheCredentialsName) {
  Send(1, "a");
  Send(2, "a");
  EXPECT_EQ(Receive("a", 0, 2), 2u);
  EXPECT_EQ(Receive("a", 0, 2), 1u) << "no other is left";
  Send(1, "b");
  Send(2, "b");
  EXPECT_EQ(Receive("b"), 5u) << "the earliest, where nobody is named";
}

TEST_F(DeliveryTest, SaysWhatWasPassedOver) {
  Send(1, "a");
  Send(1, "b");
  Send(1, "c");
  EXPECT_EQ(Receive("c"), 3u);
  EXPECT_EQ(kind(), kSame);
  EXPECT_EQ(delivery_.outstanding(), 0u);
  EXPECT_EQ(Receive("b"), 2u);
  EXPECT_EQ(kind(), kOrder);
  EXPECT_THAT(Lost(), ElementsAre(1));
  EXPECT_THAT(Lost(), IsEmpty()) << "once";
}

TEST_F(DeliveryTest, TakesOneThatWasPassedOverWhileTheCallWaited) {
  Send(1, "a");
  Send(1, "b");
  EXPECT_EQ(Receive("b"), 2u);
  EXPECT_EQ(Receive("a", 1), 1u);
  EXPECT_EQ(kind(), kSame);
  EXPECT_THAT(Lost(), IsEmpty());
}

TEST_F(DeliveryTest, TakesThePassedOverBeforeAnEqualOneBehind) {
  Send(1, "a");
  Send(1, "b");
  Send(1, "a");
  EXPECT_EQ(Receive("b"), 2u);
  EXPECT_EQ(Receive("a", 1), 1u);
  EXPECT_EQ(Receive("a"), 3u);
  EXPECT_THAT(Lost(), IsEmpty());
}

TEST_F(DeliveryTest, TakesAnEqualOneOfTheNamedSenderBeforeThePassedOver) {
  Send(1, "a");
  Send(1, "b");
  Send(2, "a");
  EXPECT_EQ(Receive("b"), 2u);
  EXPECT_EQ(Receive("a", 1, 2), 3u);
  EXPECT_EQ(Receive("a", 2, 2), 1u) << "as none of the named is left";
  EXPECT_EQ(kind(), kSame);
}

// Equal datagrams of two threads: which it was shows only later.
TEST_F(DeliveryTest, ExchangesEqualDatagramsOfTwoThreads) {
  Send(1, "a");
  Send(2, "a");
  Send(2, "b");
  EXPECT_EQ(Receive("a"), 1u);
  EXPECT_EQ(Receive("b"), 3u);
  EXPECT_EQ(kind(), kSame);
  EXPECT_EQ(delivery_.outstanding(), 1u);
  EXPECT_EQ(Receive("a"), 1u);
  EXPECT_EQ(kind(), kSame);
  EXPECT_THAT(Lost(), IsEmpty());
}

TEST_F(DeliveryTest, DoesNotMissWhatMayNotHaveLeft) {
  Send(1, "a", true);
  Send(1, "b");
  EXPECT_EQ(Receive("b"), 2u);
  EXPECT_EQ(Receive("a"), 1u);
  EXPECT_EQ(kind(), kSame);
  Send(1, "c", true);
  Send(1, "d");
  EXPECT_EQ(Receive("d"), 6u);
  EXPECT_THAT(Lost(), IsEmpty());
}

// Of two equal ones the first of which may not have left, the receive of one is the second's.
TEST_F(DeliveryTest, TakesTheSureOneOfTwoEqual) {
  Send(1, "a", true);
  Send(1, "a");
  Send(1, "b");
  EXPECT_EQ(Receive("a"), 2u);
  EXPECT_EQ(Receive("b"), 3u);
  EXPECT_EQ(kind(), kSame);
  EXPECT_THAT(Lost(), IsEmpty());
  Send(2, "c", true);
  Send(2, "c");
  EXPECT_EQ(Receive("c"), 7u);
  EXPECT_EQ(Receive("c"), 6u) << "both left";
  EXPECT_EQ(kind(), kSame);
  Send(3, "d", true);
  Send(3, "e");
  Send(3, "d");
  EXPECT_EQ(Receive("d"), 10u) << "or the second would be lost";
  EXPECT_EQ(Receive("e"), 11u);
  EXPECT_EQ(Receive("d"), 12u);
  EXPECT_THAT(Lost(), IsEmpty());
}

TEST_F(DeliveryTest, TakesTheSureOneOfTwoThreads) {
  Send(1, "a", true);
  Send(2, "a");
  Send(2, "a");
  Send(1, "b");
  Send(2, "c");
  for (const char* content : {"a", "a", "b", "c"}) Receive(content);
  EXPECT_THAT(Lost(), IsEmpty());
}

TEST_F(DeliveryTest, KnowsOneReceivedTwiceAndOneNobodySent) {
  Send(1, "a");
  EXPECT_EQ(Receive("a"), 1u);
  EXPECT_EQ(Receive("a"), 1u);
  EXPECT_EQ(kind(), kTwice);
  EXPECT_EQ(Receive("x"), 0u);
  EXPECT_EQ(kind(), kUnsent);
  for (int i = 0; i < 8; ++i) {
    Send(1, std::string(1, static_cast<char>('A' + i)));
    Receive(std::string(1, static_cast<char>('A' + i)));
  }
  EXPECT_EQ(Receive("a"), 0u) << "eight later ones are remembered";
  EXPECT_EQ(Receive("A"), 5u);
}

const std::string kHeader(16, 'h');

TEST_F(DeliveryTest, TakesTheLikestForAltered) {
  Send(1, "xx");
  Send(2, kHeader + "12");
  EXPECT_EQ(Receive(kHeader + "3"), 2u) << "the same header";
  EXPECT_EQ(kind(), kAltered);
  EXPECT_EQ(Receive("yy"), 1u) << "the same size";
  EXPECT_EQ(kind(), kAltered);
  Send(3, "zz");
  EXPECT_EQ(Receive("q", 0, 3), 5u) << "the same sender";
  EXPECT_EQ(kind(), kAltered);
  Send(3, "zz");
  EXPECT_EQ(Receive("q"), 0u) << "nothing alike";
  EXPECT_EQ(kind(), kUnsent);
}

TEST_F(DeliveryTest, FindsOneThatWasTakenForAlteredAndCameAfterAll) {
  Send(1, kHeader + "1");
  EXPECT_EQ(Receive(kHeader + "2"), 1u);
  EXPECT_EQ(kind(), kAltered);
  EXPECT_EQ(Receive(kHeader + "1"), 1u);
  EXPECT_EQ(kind(), kLate);
  EXPECT_TRUE(match_.sent->delivered);
  EXPECT_EQ(Receive(kHeader + "1"), 1u);
  EXPECT_EQ(kind(), kTwice);
}

TEST_F(DeliveryTest, TakesNoKilledSendForAltered) {
  Send(1, kHeader + "1", true);
  EXPECT_EQ(Receive(kHeader + "2"), 0u);
  Send(1, kHeader + "3");
  EXPECT_EQ(Receive(kHeader + "4"), 3u);
  EXPECT_EQ(kind(), kAltered);
}

TEST_F(DeliveryTest, ExplainsALossByAReceiverThatDied) {
  Send(1, "a");
  Send(1, "b");
  EXPECT_EQ(Receive("b"), 2u);  // event 3
  delivery_.Abandon(2, 4);
  EXPECT_THAT(Lost(), IsEmpty());
  Send(1, "c");
  Send(1, "d");
  EXPECT_EQ(Receive("d"), 5u);  // event 6
  delivery_.Abandon(6, 7);
  EXPECT_THAT(Lost(), ElementsAre(4)) << "entered after it";
}

TEST_F(DeliveryTest, ExplainsOneLossByOneReceiver) {
  for (const char* content : {"a", "b", "c"}) Send(1, content);
  EXPECT_EQ(Receive("c"), 3u);
  delivery_.Abandon(0, 5);
  EXPECT_THAT(Lost(), ElementsAre(2));
}

TEST_F(DeliveryTest, ExplainsNoLossByAReceiverThatWaitedLong) {
  Send(1, "a");
  Send(1, "b");
  EXPECT_EQ(Receive("b"), 2u);  // event 3
  delivery_.Abandon(0, 3 + 256);
  EXPECT_THAT(Lost(), ElementsAre(1));
}

TEST_F(DeliveryTest, GivesUpWhatNobodyReads) {
  for (size_t i = 0; i <= Delivery::kOutstandingMax; ++i) Send(1, "a");
  EXPECT_TRUE(delivery_.forgot());
  EXPECT_LE(delivery_.outstanding(), Delivery::kOutstandingMax / 2 + 1);
}

TEST_F(DeliveryTest, GivesUpThreadsNobodyReads) {
  for (int tid = 1; tid <= 256; ++tid) Send(tid, "a");
  EXPECT_FALSE(delivery_.forgot());
  EXPECT_EQ(delivery_.outstanding(), 256u);
  Send(257, "a");
  EXPECT_TRUE(delivery_.forgot());
  EXPECT_EQ(delivery_.outstanding(), 129u);
}

TEST_F(DeliveryTest, NamesAtOnceWhatIsNoLongerKept) {
  const size_t kept = Delivery::kPassedKept;
  for (size_t i = 0; i <= kept; ++i) Send(1, "a" + std::to_string(i));
  Send(1, "b");
  Receive("b");
  ASSERT_EQ(match_.lost.size(), 1u);
  EXPECT_EQ(match_.lost[0].slot, 1u);
  EXPECT_EQ(Lost().size(), kept);
}

TEST_F(DeliveryTest, SearchesAsDeepAsAQueueGoes) {
  for (int i = 0; i < 4095; ++i) Send(1, "a");
  Send(1, "b");
  EXPECT_EQ(Receive("b"), 4096u);
  EXPECT_EQ(kind(), kSame);
}

TEST_F(DeliveryTest, TakesTheShallowestMatch) {
  for (const char* content : {"x", "y", "m"}) Send(1, content);
  for (const char* content : {"z", "m"}) Send(2, content);
  EXPECT_EQ(Receive("m"), 5u);
  EXPECT_THAT(Lost(), ElementsAre(4));
}

}  // namespace
}  // namespace portproof
