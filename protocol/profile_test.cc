// What changed between releases, row by row; how names resolve.
#include "protocol/profile.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

namespace portproof {
namespace {

const Profile& Of(const std::string& name) {
  const auto resolved = ResolveProfile(name);
  EXPECT_TRUE(resolved) << name;
  return resolved ? *resolved->profile : Profiles().front();
}

std::string TypesOf(const std::string& name) {
  std::string text;
  const Profile& profile = Of(name);
  for (size_t number = 0; number < profile.types.size(); ++number) {
    text += (number == 0 ? "" : " ") + TypeName(profile, static_cast<uint8_t>(number));
  }
  return text;
}

constexpr char kHead[] = "rpc_ready rpc_error start_worker socket modules conf_store ";
constexpr char kNewHead[] = "rpc_ready rpc_error start_process socket modules conf_store ";
constexpr char kCert[] = "cert_get cert_delete access_log change_file new_port ";

TEST(Profile, HDR_4_NumbersItsTypesAsItsReleasesDo) {
  const std::string head = kHead;
  const std::string cert = head + kCert;
  EXPECT_EQ(TypesOf("unit-0.2"),
            head + "change_file new_port mmap process_ready remove_pid quit data");
  EXPECT_EQ(TypesOf("unit-1.0"),
            head + "access_log change_file new_port mmap process_ready remove_pid quit data");
  EXPECT_EQ(TypesOf("unit-1.4"), cert + "mmap process_ready remove_pid quit data");
  const std::string websocket =
      "mmap process_ready remove_pid quit req_headers websocket_frame data";
  EXPECT_EQ(TypesOf("unit-1.10.0"), cert + websocket);
  EXPECT_EQ(TypesOf("unit-1.14.0"), cert + websocket + " oosm shm_ack");
}

TEST(Profile, HDR_4_NumbersItsTypesAsTheReleasesWithQueuesDo) {
  const std::string cert = std::string(kNewHead) + kCert;
  EXPECT_EQ(TypesOf("unit-1.18.0"),
            cert +
                "mmap process_created process_ready remove_pid quit req_headers "
                "websocket_frame data oosm shm_ack");
  const std::string request = "req_headers req_headers_ack req_body websocket_frame data ";
  const std::string queue = "oosm shm_ack read_queue read_socket";
  EXPECT_EQ(TypesOf("unit-1.19.0"), cert +
                                        "get_port mmap get_mmap process_created process_ready "
                                        "remove_pid quit " +
                                        request + queue);
  const std::string with_ack =
      cert + "get_port port_ack mmap get_mmap process_created process_ready ";
  EXPECT_EQ(TypesOf("unit-1.21.0"), with_ack + "remove_pid quit " + request + queue);
  EXPECT_EQ(TypesOf("unit-1.25.0"),
            with_ack + "remove_pid quit " + request + "app_restart " + queue);
  EXPECT_EQ(TypesOf("unit-1.26.0"),
            with_ack + "whoami remove_pid quit " + request + "app_restart " + queue);
  EXPECT_EQ(TypesOf("unit-1.28.0"),
            with_ack + "whoami remove_pid quit " + request + "app_restart status " + queue);
  EXPECT_EQ(TypesOf("unit-1.30.0"),
            "rpc_ready rpc_error start_process socket socket_unlink modules conf_store cert_get "
            "cert_delete script_get script_delete access_log change_file new_port get_port "
            "port_ack mmap get_mmap process_created process_ready whoami remove_pid quit " +
                request + "app_restart status " + queue);
}

struct Row {
  const char* first;
  const char* last;
  size_t types;
  uint32_t limit;  // L for a MAX of 16384
  bool key_has_sender;
  int fds;
  Byte15 byte15;
  bool credentials, queues;
  SegmentLayout layout;
};

constexpr Byte15 kPad = Byte15::kPadding;
constexpr Byte15 kTrack = Byte15::kTracking;
constexpr Byte15 kZero = Byte15::kTrackingZero;
constexpr SegmentLayout kSourced = SegmentLayout::kSourced;
constexpr SegmentLayout kOosm = SegmentLayout::kOosm;

constexpr Row kRows[] = {
    {"unit-seed", "unit-seed", 13, 16384, false, 1, kPad, false, false, SegmentLayout::kSeed},
    {"unit-0.2", "unit-0.2", 13, 16384, false, 1, kPad, false, false, kSourced},
    {"unit-0.3", "unit-0.7", 13, 16384, false, 1, kTrack, false, false, kSourced},
    {"unit-1.0", "unit-1.3", 14, 16384, false, 1, kTrack, false, false, kSourced},
    {"unit-1.4", "unit-1.8.0", 16, 16384, false, 1, kTrack, false, false, kSourced},
    {"unit-1.9.0", "unit-1.9.0", 16, 16368, true, 1, kTrack, false, false, kSourced},
    {"unit-1.10.0", "unit-1.13.0", 18, 16368, true, 1, kTrack, false, false, kSourced},
    {"unit-1.14.0", "unit-1.17.0", 20, 16368, true, 1, kTrack, false, false, kOosm},
    {"unit-1.18.0", "unit-1.18.0", 21, 16368, true, 1, kTrack, false, false, kOosm},
    {"unit-1.19.0", "unit-1.20.0", 27, 16368, true, 2, kZero, false, true, kOosm},
    {"unit-1.21.0", "unit-1.24.0", 28, 16368, true, 2, kZero, false, true, kOosm},
    {"unit-1.25.0", "unit-1.25.0", 29, 16368, true, 2, kZero, false, true, kOosm},
    {"unit-1.26.0", "unit-1.27.0", 30, 16368, true, 2, kZero, true, true, kOosm},
    {"unit-1.28.0", "unit-1.29.1", 31, 16368, true, 2, kPad, true, true, kOosm},
    {"unit-1.30.0", "unit-1.35.0", 34, 16368, true, 2, kPad, true, true, kOosm},
};

// FRG-4's key, FDS-2's count, IOV-3's limit, HDR-5's byte.
TEST(Profile, SaysWhatEachRowOfTheTableSays) {
  EXPECT_EQ(std::size(kRows), Profiles().size());
  for (const Row& row : kRows) {
    EXPECT_EQ(Of(row.first), Of(row.last)) << row.first;
    const Profile& profile = Of(row.first);
    EXPECT_EQ(profile.newest, row.last);
    EXPECT_EQ(profile.types.size(), row.types) << row.first;
    EXPECT_EQ(PayloadLimit(profile, 16384), row.limit) << row.first;
    EXPECT_EQ(profile.key_has_sender, row.key_has_sender) << row.first;
    EXPECT_EQ(profile.fds_max, row.fds) << row.first;
    EXPECT_EQ(profile.byte15, row.byte15) << row.first;
    EXPECT_EQ(profile.credentials, row.credentials) << row.first;
    EXPECT_EQ(profile.queues, row.queues) << row.first;
    EXPECT_EQ(profile.segment_layout, row.layout) << row.first;
  }
}

TEST(Profile, IsNamedByAnyReleaseOfItsRow) {
  for (const auto& [name, newest] : {std::pair("unit-1.31.0", "unit-1.35.0"),
                                     {"unit-1.29.0", "unit-1.29.1"},
                                     {"unit-1.8.0", "unit-1.8.0"},
                                     {"unit-1.7.2", "unit-1.8.0"},
                                     {"unit-0.5", "unit-0.7"},
                                     {"unit-1.2", "unit-1.3"},
                                     {"unit-1.12.0", "unit-1.13.0"},
                                     {"unit-0.2.0", "unit-0.2"}}) {
    EXPECT_EQ(Of(name).newest, newest) << name;
  }
}

TEST(Profile, NameIsCanonical) {
  EXPECT_EQ(ResolveProfile("unit-0.2.0")->name, "unit-0.2");
  EXPECT_EQ(ResolveProfile("unit-1.18")->name, "unit-1.18.0");
  EXPECT_EQ(ResolveProfile("unit-1.7.2")->name, "unit-1.7.2");
  EXPECT_EQ(ResolveProfile("unit-seed")->name, "unit-seed");
  EXPECT_EQ(ResolveProfile("freeunit-1.36.0")->name, "freeunit-1.36.0");
}

TEST(Profile, NewerThanAllIsTheNewestRowWithANote) {
  for (const char* name : {"unit-1.35.1", "unit-1.36.0", "unit-2.0", "freeunit-1.36.1"}) {
    const auto resolved = ResolveProfile(name);
    ASSERT_TRUE(resolved) << name;
    EXPECT_EQ(*resolved->profile, Profiles().back()) << name;
    EXPECT_TRUE(resolved->newer_than_known) << name;
  }
  EXPECT_FALSE(ResolveProfile("unit-1.35.0")->newer_than_known);
  EXPECT_FALSE(ResolveProfile("freeunit-1.36.0")->newer_than_known);
}

TEST(Profile, FreeUnitIsTheLastRow) {
  for (const char* name : {"freeunit-1.35.1", "freeunit-1.35.2", "freeunit-1.36.0"}) {
    EXPECT_EQ(Of(name), Profiles().back()) << name;
  }
}

TEST(Profile, UnknownNamesAreNone) {
  for (const char* name : {"",
                           "unit",
                           "unit-",
                           "unit-1",
                           "unit-1.",
                           "unit-1.x",
                           "unit-0.1",
                           "unit-0.8",
                           "unit-0.9",
                           "unit-1.35.0 ",
                           "unit-1.35.0.1",
                           "unit--1.2",
                           "Unit-1.35.0",
                           "1.35.0",
                           "freeunit-1.35.0",
                           "freeunit-",
                           "unit-99999999999.1",
                           "seed",
                           "unit-+1.35.0",
                           "nginx-1.35.0"}) {
    EXPECT_FALSE(ResolveProfile(name)) << name;
  }
}

TEST(Profile, KnownNamesAreListedForAnError) {
  const std::string known = KnownProfiles();
  for (const Profile& profile : Profiles().subspan(1)) {
    EXPECT_NE(known.find(profile.releases), std::string::npos) << profile.releases;
  }
  EXPECT_NE(known.find("unit-seed"), std::string::npos);
  EXPECT_NE(known.find("freeunit-1.35.1"), std::string::npos);
}

TEST(Profile, TypesAreFoundByNumberAndBack) {
  for (const Profile& profile : Profiles()) {
    for (int number = 0; number < 256; ++number) {
      const auto type = TypeOf(profile, static_cast<uint8_t>(number));
      ASSERT_EQ(type.has_value(), static_cast<size_t>(number) < profile.types.size());
      if (type) {
        EXPECT_EQ(NumberOf(profile, *type), number) << profile.newest;
      }
    }
  }
  EXPECT_EQ(NumberOf(Of("unit-1.35.0"), Type::kStartWorker), 2);
  EXPECT_EQ(NumberOf(Of("unit-0.2"), Type::kStartProcess), 2);
  EXPECT_EQ(NumberOf(Of("unit-0.2"), Type::kReadQueue), std::nullopt);
  EXPECT_EQ(TypeName(Of("unit-0.2"), 13), "type 13");
}

// As none, one, two descriptors: "-" where a message may not carry so many, "?" where the
// rule does not say.
std::string NeedsText(Type type, const Profile& profile) {
  const std::optional<FdNeeds> needs = NeedsOf(type, profile);
  if (!needs) return "?";
  std::string text;
  for (uint32_t fds = 0; fds <= 3; ++fds) {
    if (needs->Allow(fds)) text += std::to_string(fds);
  }
  return text;
}

TEST(Profile, FDS_6_SaysHowManyDescriptorsATypeCarries) {
  for (const Profile& profile : Profiles()) {
    const bool queues = profile.queues;  // from 1.19
    EXPECT_EQ(NeedsText(Type::kMmap, profile), "1");
    EXPECT_EQ(NeedsText(Type::kChangeFile, profile), "1");
    EXPECT_EQ(NeedsText(Type::kNewPort, profile), queues ? "12" : "1") << profile.newest;
    EXPECT_EQ(NeedsText(Type::kStartWorker, profile), "02");
    EXPECT_EQ(NeedsText(Type::kStartProcess, profile), "02");
    EXPECT_EQ(NeedsText(Type::kProcessReady, profile), queues ? "01" : "?") << profile.newest;
    EXPECT_EQ(NeedsText(Type::kWhoami, profile), "01");
    EXPECT_EQ(NeedsText(Type::kReqBody, profile), "01");
    EXPECT_EQ(NeedsText(Type::kSocket, profile), "?");
    EXPECT_EQ(NeedsText(Type::kData, profile), "?");
  }
}

}  // namespace
}  // namespace portproof
