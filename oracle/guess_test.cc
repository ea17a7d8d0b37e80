// The profile guessed from traffic of each set of releases.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "oracle/testing.h"
#include "protocol/profile.h"

namespace portproof {
namespace {

// What every server sends when it starts: two ports, a segment, a process that died.
std::string Start(const Profile& profile) {
  const auto number = [&](Type type) { return *NumberOf(profile, type); };
  const std::string fds = absl::StrCat(",\"fds\":", profile.fds_max);
  const std::string cred = profile.credentials ? ",\"cred_pid\":101" : "";
  const DatagramText port{
      .stream = 0, .type = number(Type::kNewPort), .last = true, .payload = std::string(64, '0')};
  const DatagramText segment{.stream = 0, .type = number(Type::kMmap), .last = true, .payload = ""};
  const DatagramText died{
      .stream = 0, .type = number(Type::kRemovePid), .last = true, .payload = "05000000"};
  return absl::StrCat("{\"portproof\":1}\n", kOpen, Send(port, fds), Recv(port, fds + cred),
                      Send(segment, ",\"fds\":1"), Recv(segment, ",\"fds\":1" + cred), Send(died),
                      Recv(died, cred));
}

TEST(Guess, NamesTheNewestReleaseThatNumbersTypesSo) {
  for (const Profile& profile : Profiles()) {
    if (profile.newest == "unit-seed") continue;
    const TraceReport report = JudgeText(Start(profile));
    const Profile* guessed = ResolveProfile(report.profile)->profile;
    EXPECT_EQ(report.source, ProfileSource::kGuessed);
    EXPECT_FALSE(report.guess_weak) << profile.newest << " guessed as " << report.profile;
    for (const Type type : {Type::kNewPort, Type::kMmap, Type::kRemovePid}) {
      EXPECT_EQ(NumberOf(*guessed, type), NumberOf(profile, type))
          << profile.newest << " guessed as " << report.profile;
    }
    EXPECT_EQ(guessed->credentials, profile.credentials) << profile.newest;
    EXPECT_EQ(guessed->fds_max, profile.fds_max) << profile.newest;
    EXPECT_THAT(Broken(report), testing::IsEmpty()) << profile.newest;
  }
}

TEST(Guess, PrefersTheFirstReleaseOverThoseThatLookTheSame) {
  EXPECT_EQ(JudgeText(Start(*ResolveProfile("unit-0.5")->profile)).profile, "unit-0.2");
}

TEST(Guess, TakesFullFragmentsForTheirLimit) {
  const Profile& profile = *ResolveProfile("unit-1.8.0")->profile;
  const DatagramText first{.type = *NumberOf(profile, Type::kData), .mf = true, .payload = ""};
  const DatagramText rest{.type = first.type, .nf = true};
  for (const auto& [bytes, release] :
       {std::pair(16384, "unit-1.8.0"), std::pair(16368, "unit-1.9.0")}) {
    const std::string zero = absl::StrCat(",\"data_zero\":", bytes);
    const TraceReport report =
        JudgeText(absl::StrCat(Start(profile), Send(first, zero), Recv(first, zero), Both(rest)));
    EXPECT_EQ(report.profile, release);
    EXPECT_THAT(report.guess_why, testing::HasSubstr("fragment sizes"));
  }
}

// Requests that go both ways are data under another release's number.
TEST(Guess, TakesTrafficThatIsAnsweredByItsOwnTypeForData) {
  const Profile& profile = *ResolveProfile("unit-1.9.0")->profile;
  std::string text = Start(profile);
  for (uint32_t stream = 1; stream <= 5; ++stream) {
    const DatagramText request{.stream = stream, .pid = 7, .type = 15};
    const DatagramText answer{.stream = stream, .pid = 8, .type = 15};
    const auto from = [](int pid) { return absl::StrCat(",\"pid\":", pid); };
    const auto call = [&](const char* kind, const std::string& port, const DatagramText& sent,
                          int pid) {
      absl::StrAppend(&text, "{\"ev\":\"", kind, "\",\"port\":\"", port, "\"", from(pid),
                      ",\"data\":\"", sent.Hex(), "\"}\n");
    };
    call("send", "to-8", request, 7);
    call("recv", "to-8", request, 8);
    call("send", "to-7", answer, 8);
    call("recv", "to-7", answer, 7);
  }
  const TraceReport report = JudgeText(text);
  EXPECT_EQ(report.profile, "unit-1.9.0");
  EXPECT_FALSE(report.guess_weak);
  EXPECT_THAT(report.guess_also, testing::ElementsAre("unit-1.8.0"));
}

// Notifications are no acknowledgements of an oosm that nobody sent.
TEST(Guess, TellsNotificationsFromAcknowledgements) {
  for (const std::string release :
       {"unit-1.20.0", "unit-1.24.0", "unit-1.25.0", "unit-1.27.0", "unit-1.29.1", "unit-1.35.0"}) {
    const Profile& profile = *ResolveProfile(release)->profile;
    std::string text = Start(profile);
    const DatagramText notification{.type = *NumberOf(profile, Type::kReadQueue), .payload = ""};
    const std::string cred = profile.credentials ? ",\"cred_pid\":101" : "";
    for (int i = 0; i < 10; ++i) {
      absl::StrAppend(&text, Send(notification), Recv(notification, cred));
    }
    const TraceReport report = JudgeText(text);
    EXPECT_EQ(report.profile, release);
    EXPECT_FALSE(report.guess_weak) << release;
  }
}

// new_port, mmap and remove_pid are alike from 1.21 to 1.25; so few datagrams tell no more.
TEST(Guess, NamesTheOtherRowsThatFit) {
  const TraceReport report = JudgeText(Start(*ResolveProfile("unit-1.22.0")->profile));
  EXPECT_EQ(report.profile, "unit-1.25.0");
  EXPECT_THAT(report.guess_also, testing::ElementsAre("unit-1.24.0"));
  EXPECT_FALSE(report.guess_weak) << "they name what was seen alike";
}

// Type 26 is shm_ack to one row and read_queue to the other, and nothing else is seen.
TEST(Guess, IsWeakWhereAnotherRowNamesATypeOtherwise) {
  const Profile& profile = *ResolveProfile("unit-1.24.0")->profile;
  const DatagramText oosm{.type = 25, .payload = ""};
  const DatagramText next{.type = 26, .payload = ""};
  const TraceReport report = JudgeText(absl::StrCat(Start(profile), Both(oosm), Both(next)));
  EXPECT_TRUE(report.guess_weak);
}

// What waits for the guess is judged as if it had been known.
TEST(Guess, HandsOnEveryFieldOfWhatWaitedForIt) {
  const Profile& profile = *ResolveProfile("unit-0.2")->profile;
  const std::string begun = Start(profile) + Both({.stream = 7, .mf = true});
  const std::string end = Both({.stream = 7, .nf = true});
  const auto failed = [](const std::string& name) {
    return EventBy("fail", 101, absl::StrCat(",\"errno\":\"", name, "\""));
  };
  EXPECT_THAT(Broken(JudgeText(begun + failed("EPIPE") + end)), testing::ElementsAre("FRG-2"));
  EXPECT_THAT(Broken(JudgeText(begun + failed("EMSGSIZE") + end)), testing::IsEmpty());
}

// The first 2000 datagrams fit the newest row; what follows fits another, and counts as much.
TEST(Guess, IsMadeAgainWhereTheRestOfTheTraceSpeaksForAnother) {
  const Profile& profile = *ResolveProfile("unit-1.24.0")->profile;
  std::string text = Start(profile);
  const DatagramText data{.type = *NumberOf(profile, Type::kData)};
  for (int i = 0; i < 2000; ++i) text += Both(data);
  EXPECT_EQ(JudgeText(text).profile, "unit-1.25.0");
  const DatagramText notification{.type = *NumberOf(profile, Type::kReadQueue), .payload = ""};
  for (int i = 0; i < 10; ++i) text += Both(notification);
  const TraceReport report = JudgeText(text);
  EXPECT_EQ(report.profile, "unit-1.24.0");
  EXPECT_THAT(report.notes, testing::IsEmpty());
  EXPECT_EQ(report.result.counts.datagrams, 2013u);
}

TEST(Guess, IsWeakWithoutATellingType) {
  const TraceReport report =
      JudgeText(absl::StrCat("{\"portproof\":1}\n", kOpen, Both({.type = 0})));
  EXPECT_TRUE(report.guess_weak);
}

TEST(Guess, NamesTheFileItIsOf) {
  const std::string path = WriteFile("named", kFirstLine + kOpen + Both({}));
  EXPECT_EQ(JudgeFile(path).file, path);
  EXPECT_THAT(JudgeFile(path).files, testing::ElementsAre(path));
}

TEST(Guess, GivesWayToTheTraceAndBothToTheUser) {
  const std::string text = kFirstLine + kOpen + Both({});
  EXPECT_EQ(JudgeText(text).source, ProfileSource::kTrace);
  EXPECT_EQ(JudgeText(text).profile, "unit-0.2");
  EXPECT_EQ(JudgeText(text, "unit-1.18").source, ProfileSource::kGiven);
  EXPECT_EQ(JudgeText(text, "unit-1.18").profile, "unit-1.18.0");
}

}  // namespace
}  // namespace portproof
