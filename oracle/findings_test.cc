// How findings are counted, excused, numbered and ordered.
#include "oracle/findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

namespace portproof {
namespace {

using enum Rule;

Findings All() { return Findings(std::array<bool, kRuleCount>{}); }
Where At(std::string_view port, uint64_t slot = 1) {
  Where where;
  where.port = port;
  where.slot = slot;
  where.line = slot;
  return where;
}

TEST(Findings, AreErrorsOrWarningsByTheirLevel) {
  EXPECT_EQ(SeverityOf(kFrg5), Severity::kError);
  EXPECT_EQ(SeverityOf(kFrg6), Severity::kWarning);
  EXPECT_EQ(SeverityOf(kHdr7), Severity::kWarning);
  EXPECT_EQ(SeverityOf(kIov4), Severity::kWarning) << "it harms no receiver";
  EXPECT_EQ(SeverityOf(kIov3), Severity::kError);
  Findings findings = All();
  EXPECT_TRUE(findings.Report(kFrg5, At("p"), ""));
  EXPECT_TRUE(findings.Report(kIov4, At("p"), ""));
  EXPECT_TRUE(findings.Report(kHdr7, At("p"), ""));
  EXPECT_EQ(findings.errors(), 1u);
  EXPECT_EQ(findings.warnings(), 2u);
  EXPECT_EQ(findings.notes(), 0u);
}

TEST(Findings, OfARuleThatIsOffAreNone) {
  std::array<bool, kRuleCount> off{};
  off[static_cast<size_t>(kFrg5)] = true;
  Findings findings(off);
  EXPECT_FALSE(findings.Report(kFrg5, At("p"), ""));
  EXPECT_TRUE(findings.Report(kFrg1, At("p"), ""));
  EXPECT_EQ(findings.errors(), 1u);
}

TEST(Findings, AreNotesWhereDamageExplainsThem) {
  Findings findings = All();
  findings.AddDamage("p");
  EXPECT_TRUE(findings.Report(kHdr3, At("p"), "", Lost::kNothing));
  EXPECT_TRUE(findings.Report(kSoc3, At("q"), "", Lost::kDelivery)) << "another port";
  EXPECT_FALSE(findings.Report(kSoc3, At("p"), "", Lost::kDelivery));
  EXPECT_TRUE(findings.Report(kSoc3, At("p"), "", Lost::kDelivery)) << "one datagram, one delivery";
  EXPECT_FALSE(findings.Report(kShm10, At("p"), "", Lost::kSegment));
  EXPECT_TRUE(findings.Report(kShm10, At("p"), "", Lost::kSegment)) << "one announcement";
  EXPECT_EQ(findings.notes(), 2u);
}

TEST(Findings, OfFragmentsAreExplainedForOneStreamOnly) {
  Findings findings = All();
  findings.AddDamage("p");
  EXPECT_FALSE(findings.Report(kFrg2, At("p"), "", Lost::kFragment, 5));
  EXPECT_FALSE(findings.Report(kFrg5, At("p"), "", Lost::kFragment, 5));
  EXPECT_TRUE(findings.Report(kFrg5, At("p"), "", Lost::kFragment, 6));
}

TEST(Findings, TakeTheDamageThatIsAlreadyTheirStreams) {
  Findings findings = All();
  findings.AddDamage("");
  findings.AddDamage("");
  EXPECT_FALSE(findings.Report(kFrg2, At("p"), "", Lost::kFragment, 5));
  EXPECT_FALSE(findings.Report(kFrg2, At("p"), "", Lost::kFragment, 5));
  EXPECT_FALSE(findings.Report(kFrg2, At("q"), "", Lost::kFragment, 5)) << "the second line";
  EXPECT_TRUE(findings.Report(kFrg2, At("p"), "", Lost::kFragment, 6));
}

TEST(Findings, BindDamageOfNoKnownPortToTheFirstTheyAreIn) {
  Findings findings = All();
  findings.AddDamage("");
  EXPECT_FALSE(findings.Report(kSoc3, At("p"), "", Lost::kDelivery));
  EXPECT_TRUE(findings.Report(kFrg2, At("q"), "", Lost::kFragment, 5));
  EXPECT_FALSE(findings.Report(kFrg2, At("p"), "", Lost::kFragment, 5));
}

TEST(Findings, AreAllExplainedAfterMoreDamageThanIsKept) {
  Findings findings = All();
  for (int i = 0; i < 4096; ++i) findings.AddDamage("q");
  EXPECT_TRUE(findings.Report(kSoc3, At("p"), "", Lost::kDelivery));
  findings.AddDamage("q");
  EXPECT_FALSE(findings.Report(kSoc3, At("p"), "", Lost::kDelivery));
}

TEST(Findings, AreNumberedByTheDatagramsThatCount) {
  Findings findings = All();
  for (int i = 0; i < 5; ++i) findings.NextSlot();
  findings.Report(kFrg5, At("p", 5), "last");
  findings.Report(kFrg1, At("p", 2), "second");
  findings.Report(kHdr7, At("p", 1), "warning");
  findings.Uncount(3);
  findings.Uncount(2);
  const auto sorted = findings.Sorted();
  ASSERT_EQ(sorted.size(), 3u);
  EXPECT_EQ(sorted[0].detail, "second");
  EXPECT_EQ(sorted[0].datagram, 2u);
  EXPECT_EQ(sorted[1].detail, "last");
  EXPECT_EQ(sorted[1].datagram, 3u);
  EXPECT_EQ(sorted[2].detail, "warning");
}

TEST(Findings, OfAPortAreRetracted) {
  Findings findings = All();
  findings.Report(kFrg5, At("p"), "");
  findings.Report(kHdr7, At("p"), "");
  findings.Report(kFrg5, At("q"), "");
  findings.Retract("p");
  EXPECT_EQ(findings.errors(), 1u);
  EXPECT_EQ(findings.warnings(), 0u);
  EXPECT_EQ(findings.Sorted().size(), 1u);
}

TEST(Findings, AreAllCountedAndTheFirstKept) {
  Findings findings = All();
  for (size_t i = 0; i <= Findings::kKept; ++i) findings.Report(kFrg5, At("p", i), "");
  EXPECT_EQ(findings.errors(), Findings::kKept + 1);
  EXPECT_EQ(findings.Sorted().size(), Findings::kKept);
}

}  // namespace
}  // namespace portproof
