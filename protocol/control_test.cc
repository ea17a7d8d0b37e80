// Sections 2 and 7 by rule, and the order of the checks of section 5.
#include "protocol/control.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace portproof {
namespace {

constexpr uint32_t kMax = 16384;

class Control : public testing::Test {
 protected:
  Control() {
    receiver_.profile = ResolveProfile("unit-1.35.0")->profile;
    received_.bytes = 16 + 10;
    header_.pid = 101;
    header_.type = 3;
  }
  Admission Do() const {
    const bool has_header = received_.bytes >= kHeaderBytes;
    return Admit(received_, has_header ? &header_ : nullptr, receiver_);
  }
  void Profile(const std::string& name) { receiver_.profile = ResolveProfile(name)->profile; }
  void Fds(uint32_t fds) {
    received_.fds = fds;
    received_.rights_messages = fds > 0 ? 1 : 0;
  }
  std::optional<Rule> RefusedBy() const {
    const Admission admission = Do();
    EXPECT_EQ(admission.fds, admission.refused ? Fate::kClose : Fate::kAdopt);  // FDS-5
    return admission.refused;
  }

  Received received_;
  Header header_;
  Intake receiver_;
};

TEST_F(Control, AdmitsAnOrdinaryDatagram) {
  EXPECT_EQ(RefusedBy(), std::nullopt);
  EXPECT_EQ(ToString(Do()), "admit from 101");
}

TEST_F(Control, HDR_1_RefusesFewerThanSixteenBytes) {
  for (uint64_t bytes = 1; bytes <= 17; ++bytes) {
    received_.bytes = bytes;
    EXPECT_EQ(RefusedBy(), bytes < 16 ? std::optional(Rule::kHdr1) : std::nullopt) << bytes;
  }
}

TEST_F(Control, HDR_4_RefusesATypeAtTheProfilesCount) {
  for (const auto& profile : Profiles()) {
    receiver_.profile = &profile;
    header_.type = static_cast<uint8_t>(profile.types.size() - 1);
    EXPECT_EQ(RefusedBy(), std::nullopt) << profile.newest;
    header_.type = static_cast<uint8_t>(profile.types.size());
    EXPECT_EQ(RefusedBy(), Rule::kHdr4) << profile.newest;
    header_.type = 255;
    EXPECT_EQ(RefusedBy(), Rule::kHdr4) << profile.newest;
  }
}

TEST_F(Control, HDR_4_RefusesATypeWithoutHandler) {
  receiver_.handled = HandledTypes::All().Without(3);
  EXPECT_EQ(RefusedBy(), Rule::kHdr4);
  receiver_.handled = HandledTypes::None().With(3);
  EXPECT_EQ(RefusedBy(), std::nullopt);
  header_.type = 4;
  EXPECT_EQ(RefusedBy(), Rule::kHdr4);
}

TEST_F(Control, HDR_7_TakesTheKernelsWordForTheSender) {
  received_.credentials_pid = 102;
  EXPECT_EQ(RefusedBy(), std::nullopt);
  EXPECT_EQ(Do().sender, 102);
  EXPECT_TRUE(Do().pid_differs);
  EXPECT_EQ(ToString(Do()), "admit from 102, pid differs");
  received_.credentials_pid = 101;
  EXPECT_EQ(Do().sender, 101);
  EXPECT_FALSE(Do().pid_differs);
}

TEST_F(Control, HDR_7_TakesTheHeadersWordWhereTheKernelSaysNothing) {
  received_.credentials_pid = 0;
  EXPECT_EQ(Do().sender, 101);
  EXPECT_FALSE(Do().pid_differs);
}

TEST_F(Control, HDR_7_ExemptsThreeTypes) {
  received_.credentials_pid = 102;
  for (const Type type : {Type::kReadQueue, Type::kWhoami, Type::kProcessCreated}) {
    header_.type = NumberOf(*receiver_.profile, type).value();
    EXPECT_FALSE(Do().pid_differs) << Name(type);
    EXPECT_EQ(Do().sender, 102);
  }
}

TEST(EndOfFile, HDR_8_IsMoreThanZeroBytes) {
  EXPECT_TRUE(IsEndOfFile({true, 0, true, 0}));
  EXPECT_FALSE(IsEndOfFile({true, 1, true, 0}));
  EXPECT_FALSE(IsEndOfFile({true, 0, false, 0}));
  EXPECT_FALSE(IsEndOfFile({true, 0, true, 1}));
  EXPECT_FALSE(IsEndOfFile({false, 0, true, 0}));
}

TEST_F(Control, HDR_8_RefusesAZeroLengthDatagramAndClosesItsFds) {
  received_.bytes = 0;
  for (const uint32_t fds : {0U, 1U}) {
    Fds(fds);
    EXPECT_EQ(RefusedBy(), Rule::kHdr8);
    EXPECT_EQ(Do().fds, Fate::kClose);
  }
}

TEST_F(Control, FDS_1_RefusesFdsOnALaterFragment) {
  Fds(1);
  for (const bool mf : {false, true}) {
    header_.mf = mf;
    header_.nf = false;
    EXPECT_EQ(RefusedBy(), std::nullopt);
    header_.nf = true;
    EXPECT_EQ(RefusedBy(), Rule::kFds1);
  }
  Fds(0);
  EXPECT_EQ(RefusedBy(), std::nullopt);
}

TEST_F(Control, FDS_2_AllowsOneTo118AndTwoFrom119) {
  for (const auto& profile : Profiles()) {
    receiver_.profile = &profile;
    for (uint32_t fds = 0; fds <= kKernelFdsMax; ++fds) {
      Fds(fds);
      EXPECT_EQ(RefusedBy().has_value(), fds > (profile.queues ? 2U : 1U)) << profile.newest;
      if (RefusedBy()) {
        EXPECT_EQ(RefusedBy(), Rule::kFds2);
      }
    }
  }
}

TEST_F(Control, FDS_2_RefusesFdsSpreadOverTwoMessages) {
  received_.fds = 2;
  received_.rights_messages = 2;
  EXPECT_EQ(RefusedBy(), Rule::kFds2);
}

TEST_F(Control, FDS_4_WithoutRightsThereIsNoFd) {
  Fds(0);
  EXPECT_EQ(RefusedBy(), std::nullopt);
}

TEST_F(Control, FDS_7_TakesLackOfSlotsForTruncationNotForNoFds) {
  received_.control_truncated = true;
  for (const uint32_t fds : {0U, 1U, 2U}) {
    Fds(fds);
    EXPECT_EQ(RefusedBy(), Rule::kRcv1);
  }
}

TEST_F(Control, RCV_1_RefusesTruncatedPayload) {
  received_.truncated = true;
  EXPECT_EQ(RefusedBy(), Rule::kRcv1);
  EXPECT_EQ(ToString(Do()), "refuse RCV-1");
}

TEST_F(Control, RCV_1_TakesDatagramsUpToMaxAndAHeaderFromAnySender) {
  for (const char* name : {"unit-0.2", "unit-1.35.0"}) {
    Profile(name);
    received_.bytes = kMax + 16;
    EXPECT_EQ(RefusedBy(), std::nullopt) << name;
    received_.bytes = kMax + 17;
    EXPECT_EQ(RefusedBy(), Rule::kRcv1) << name;
  }
}

// Section 5: the first check that fails names the rule. All of them fail at once;
// each step mends the one that was named.
TEST_F(Control, ChecksInTheOrderOfSectionFive) {
  Profile("unit-0.2");
  received_ = {.bytes = 3,
               .rights_messages = 1,
               .fds = 2,
               .truncated = true,
               .control_truncated = true,
               .credentials_pid = 0};
  header_.type = 77;
  header_.nf = true;
  EXPECT_EQ(RefusedBy(), Rule::kFds2);
  received_.fds = 1;
  EXPECT_EQ(RefusedBy(), Rule::kRcv1);
  received_.control_truncated = false;
  EXPECT_EQ(RefusedBy(), Rule::kHdr1);
  received_.bytes = 0;
  EXPECT_EQ(RefusedBy(), Rule::kHdr8);
  received_.bytes = 16;
  EXPECT_EQ(RefusedBy(), Rule::kRcv1);
  received_.truncated = false;
  EXPECT_EQ(RefusedBy(), Rule::kHdr4);
  header_.type = 3;
  EXPECT_EQ(RefusedBy(), Rule::kFds1);
  Fds(0);
  EXPECT_EQ(RefusedBy(), std::nullopt);
}

TEST(Discards, RCV_5_OnlyForFourKindsOfRefusal) {
  for (size_t i = 0; i < kRuleCount; ++i) {
    const Rule rule = static_cast<Rule>(i);
    const std::string_view id = Id(rule);
    const bool discards = id == "RCV-1" || id == "FRG-3" || id == "FRG-8" || id == "SHM-1" ||
                          id == "SHM-2" || id == "SHM-10" || id == "SHM-14";
    EXPECT_EQ(Discards(rule), discards) << id;
  }
}

}  // namespace
}  // namespace portproof
