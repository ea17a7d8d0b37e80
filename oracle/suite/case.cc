#include "oracle/suite/case.h"

#include <fnmatch.h>

#include <algorithm>

namespace portproof::suite {

Case& Add(CaseList& cases, const std::string& name, std::function<void(Stage&)> play,
          const std::vector<Rule>& more) {
  Case added;
  added.name = name;
  if (const auto rule = FindRule(name.substr(0, name.find('/')))) added.rules.push_back(*rule);
  added.rules.insert(added.rules.end(), more.begin(), more.end());
  added.play = std::move(play);
  cases.push_back(std::move(added));
  return cases.back();
}

const std::vector<OnlyBatched>& OnlyBatchedCases() {
  static const std::vector<OnlyBatched> cases = {
      {"SND-4/a-dead-peer-fails-the-port", "a write that fails at once may be refused as well"},
      {"SND-12/bound-in-messages", "what leaves at once fills no queue"},
      {"SND-12/bound-in-bytes", "what leaves at once fills no queue"},
      {"SND-12/bound-in-fds", "what leaves at once fills no queue"},
      {"HDR-4/types-beyond-the-count-are-not-written", "none of its writes is accepted"},
      {"FDS-2/more-than-allowed-are-not-written", "none of its writes is accepted"},
      {"SND-10/no-sigpipe", "a write that fails at once may be refused as well"},
  };
  return cases;
}

namespace {

bool WritesDirectly(const Case& one) {
  if (one.role != "sender" || !one.starts) return false;
  const auto& only = OnlyBatchedCases();
  return std::none_of(only.begin(), only.end(),
                      [&one](const OnlyBatched& batched) { return one.name == batched.name; });
}

// Each that sends once more, written directly: a wrapper that queues what is batched hides
// what goes wrong at a write.
void AddDirectWrites(CaseList& cases) {
  const size_t count = cases.size();
  for (size_t i = 0; i < count; ++i) {
    if (!WritesDirectly(cases[i])) continue;
    Case direct = cases[i];
    direct.name += kDirectly;
    direct.direct = true;
    cases.push_back(std::move(direct));
  }
}

}  // namespace

CaseList FixedCases() {
  CaseList cases;
  AddHeaderCases(cases);
  AddFragmentCases(cases);
  AddDescriptorCases(cases);
  AddLimitCases(cases);
  AddComposeCases(cases);
  AddSendCases(cases);
  AddCompletionCases(cases);
  AddMemoryCases(cases);
  AddUnknownSegmentCases(cases);
  AddSocketCases(cases);
  AddSeldomCases(cases);
  AddDirectWrites(cases);
  std::stable_sort(cases.begin(), cases.end(), [](const Case& a, const Case& b) {
    return (a.rules.empty() ? 0 : 1 + static_cast<int>(a.rules[0])) <
           (b.rules.empty() ? 0 : 1 + static_cast<int>(b.rules[0]));
  });
  return cases;
}

const std::vector<Unobservable>& UnobservableRules() {
  static const std::vector<Unobservable> rules = {
      {Rule::kSnd3, "a local datagram socket never takes a part; only a scripted kernel does"},
      {Rule::kSnd13, "whether a thread was woken once cannot be told from outside a process"},
      {Rule::kCmp4, "from inside or outside the write call looks alike in a list of events"},
      {Rule::kCmp6, "a testee has one writer"},
      {Rule::kFrg10, "the contract has no receiver that takes no fragments"},
      {Rule::kRcv4, "how many datagrams a turn takes cannot be told from outside"},
      {Rule::kRcv7, "an edge-triggered loop is the testee's own matter"},
      {Rule::kShm9, "how often a value was read cannot be told from outside"},
      {Rule::kShm12, "no command makes a testee run out of shared memory"},
      {Rule::kShm13, "the handler of a testee keeps no chunks"},
      {Rule::kShm15, "no command makes a testee track what it writes"},
      {Rule::kSoc1, "the runner makes the sockets"},
      {Rule::kSoc2, "the runner makes the sockets; what an adopter must refuse is SND-11"},
      {Rule::kSoc3, "the kernel's part"},
      {Rule::kPrt1, "the runner makes the ends; adopting is in every case"},
      {Rule::kHdr9,
       "zeros and uninitialised bytes that happen to be zero look alike; the one "
       "padding byte is judged by HDR-5"},
  };
  return rules;
}

bool GlobMatches(const std::string& glob, const std::string& text) {
  return fnmatch(glob.c_str(), text.c_str(), 0) == 0;
}

}  // namespace portproof::suite
