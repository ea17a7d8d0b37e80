// Descriptors and lengths: FDS-1, FDS-2, FDS-3, FDS-4, FDS-5, FDS-6, FDS-7, RCV-1.
#include <sys/resource.h>

#include "absl/strings/str_cat.h"
#include "oracle/suite/case.h"

namespace portproof::suite {
namespace {

void FdsOnLaterFragments(Stage& stage) {
  stage.Post(Datagram(5).Bytes(10).Mf());
  stage.Post(Datagram(5).Bytes(4, 2).Nf().Mf().Fds(1));
  stage.Post(Datagram(5).Bytes(4, 3).Nf());
  stage.Settle();
  stage.Post(Datagram(6).Nf().Fds(1));
  stage.Settle();
}

void TooManyFds(Stage& stage) {
  const size_t most = stage.profile().fds_max;
  for (const size_t count : {most + 1, most + 2, size_t{16}, size_t{253}})
    stage.Post(Datagram(5).Bytes(3).Fds(count));
  stage.Settle();
}

void AsManyAsAllowed(Stage& stage) {
  for (size_t count = 1; count <= stage.profile().fds_max; ++count)
    stage.Post(Datagram(5).Bytes(3).Fds(count).About(Rule::kFds2));
  stage.Settle();
}

void CloseOnExec(Stage& stage) {
  stage.Keep();
  stage.Post(Datagram(5).Bytes(3).Fds(stage.profile().fds_max));
  stage.Settle();
  for (const FileId& file : stage.posted_fds()) {
    const auto files = OpenFiles(stage.hello().pid, true);
    const auto found = files.find(file);
    stage.Expect(found != files.end(), Rule::kFds5, "a kept descriptor is open", "closed");
    stage.Expect(found->second.close_on_exec, Rule::kFds3, "close-on-exec set", "not set");
  }
}

void NoFdFromBefore(Stage& stage) {
  stage.Post(Datagram(5).Bytes(3).Fds(1));
  stage.Post(Datagram(5).Bytes(3, 2));
  stage.Post(Datagram(5).Mf().Bytes(3, 3));
  stage.Post(Datagram(5).Nf().Bytes(3, 4));
  stage.Settle();
}

void LeftFdsAreClosed(Stage& stage) {
  for (uint32_t stream = 0; stream < 8; ++stream) stage.Post(Datagram(stream).Bytes(3).Fds(1));
  stage.Post(Datagram(8).Bytes(3).Fds(1).Mf());
  stage.Settle();
  stage.Census(Rule::kFds5);
  stage.Post(Datagram(8).Bytes(3).Nf());
  stage.Settle();
  stage.Census(Rule::kFds5);
}

// Whatever it is refused for.
void RefusedFdsAreClosed(Stage& stage) {
  stage.Post(Datagram(5).Type(255).Fds(1));
  stage.Post(Datagram(6).Nf().Fds(0));
  stage.Post(Datagram(7).Fds(1).Cut(9));
  stage.Post(Datagram(8).Bytes(3).Fds(stage.profile().fds_max + 1u));
  stage.Settle();
  stage.Census(Rule::kFds5);
}

void KeptFdsStayOpen(Stage& stage) {
  stage.Keep();
  stage.Post(Datagram(5).Bytes(3).Fds(1));
  stage.Settle();
  stage.Expect(stage.OpenCount(stage.posted_fds().front()) == 1, Rule::kFds5,
               "what the handler took is open once",
               absl::StrCat(stage.OpenCount(stage.posted_fds().front()), " times"));
}

void ResetClosesAssemblies(Stage& stage) {
  stage.Post(Datagram(5).Bytes(3).Fds(1).Mf());
  stage.Settle();
  stage.Expect(stage.OpenCount(stage.posted_fds().front()) == 1, Rule::kFds5,
               "an open message keeps its descriptor", "closed");
}

// The testee may open no more than it has: the kernel drops descriptors, and says so.
class NoSlots {
 public:
  explicit NoSlots(pid_t pid) : pid_(pid) {
    prlimit(pid_, RLIMIT_NOFILE, nullptr, &old_);
    rlimit tight = old_;
    tight.rlim_cur = static_cast<rlim_t>(LowestFreeFd(pid_));
    prlimit(pid_, RLIMIT_NOFILE, &tight, nullptr);
  }
  NoSlots(const NoSlots&) = delete;
  NoSlots& operator=(const NoSlots&) = delete;
  ~NoSlots() { prlimit(pid_, RLIMIT_NOFILE, &old_, nullptr); }

 private:
  pid_t pid_;
  rlimit old_ = {};
};

void NoDescriptorSlots(Stage& stage) {
  stage.Post(Datagram(6).Bytes(3).Mf());
  stage.Settle();
  {
    const NoSlots none(stage.hello().pid);
    stage.ControlIsTruncated(true);
    stage.Post(Datagram(5).Bytes(3).Fds(stage.profile().fds_max).About(Rule::kFds7));
    stage.Post(Datagram(6).Bytes(3).Mf().Fds(stage.profile().fds_max).About(Rule::kFds7));
    stage.ControlIsTruncated(false);
    stage.Settle();
  }
  stage.Post(Datagram(6).Bytes(3).Nf().About(Rule::kFds7));
  stage.Settle();
}

void TooLong(Stage& stage) {
  const uint32_t most = stage.max_size();
  stage.Post(Datagram(5).Bytes(most).About(Rule::kRcv1));  // MAX + 16 bytes in all
  stage.Settle();
  stage.Post(Datagram(6).Bytes(10).Mf());
  stage.Post(Datagram(5).Bytes(most + 1));
  stage.Post(Datagram(6).Bytes(most + 1000, 2).Nf().Fds(0));
  stage.Post(Datagram(6).Bytes(3).Nf().About(Rule::kRcv1));
  stage.Settle();
}

void TooLongWithFds(Stage& stage) {
  stage.Post(Datagram(5).Bytes(stage.max_size() + 200).Fds(1));
  stage.Settle();
}

}  // namespace

void AddDescriptorCases(CaseList& cases) {
  const std::vector<std::string> fds = {"fds"};
  const std::vector<std::string> both = {"fragments", "fds"};
  Add(cases, "RCV-1/too-long-is-refused-and-discards", TooLong).Needs({"fragments"});
  Add(cases, "RCV-1/too-long-with-fds", TooLongWithFds).Needs(fds);
  Add(cases, "FDS-1/fds-on-a-later-fragment", FdsOnLaterFragments).Needs(both);
  Add(cases, "FDS-2/more-than-allowed-are-refused", TooManyFds).Needs(fds);
  Add(cases, "FDS-2/old-profiles-allow-one", TooManyFds)
      .Needs(fds)
      .Home("unit-0.2")
      .Applies([](const Profile& profile) { return profile.fds_max == 1; });
  Add(cases, "FDS-2/as-many-as-allowed", AsManyAsAllowed).Needs(fds);
  Add(cases, "FDS-3/received-fds-close-on-exec", CloseOnExec).Needs(fds);
  Add(cases, "FDS-4/no-fd-from-an-earlier-datagram", NoFdFromBefore).Needs(both);
  Add(cases, "FDS-5/fds-left-by-the-handler-are-closed", LeftFdsAreClosed).Needs(both);
  Add(cases, "FDS-5/fds-of-refusals-are-closed", RefusedFdsAreClosed).Needs(both);
  Add(cases, "FDS-5/fds-taken-stay-open", KeptFdsStayOpen).Needs(fds);
  Add(cases, "FDS-5/reset-closes-open-messages", ResetClosesAssemblies).Needs(both);
  Add(cases, "FDS-7/no-free-slots-is-a-refusal", NoDescriptorSlots, {Rule::kRcv1})
      .Needs(both)
      .Fresh();
}

}  // namespace portproof::suite
