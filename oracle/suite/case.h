// A case: a name, the rules it judges, what it needs, and what it does.
//   shapes    the name is "RULE/what-happens"; the first rule is its own. A case plays on
//             the profile asked for where it applies, else on its home profile
//   returns   Cases: all fixed ones, by name. play throws CaseEnd where it fails
//   holds     values
//   rules     as named
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_CASE_H_
#define PORTPROOF_ORACLE_SUITE_CASE_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "oracle/conversation/action.h"
#include "oracle/suite/stage.h"

namespace portproof::suite {

inline constexpr const char* kNewestProfile = "unit-1.35.0";

// Behind the name of a case whose messages are written without batching.
inline constexpr const char* kDirectly = "-directly";

struct Case {
  std::string name;
  std::vector<Rule> rules;
  std::function<void(Stage&)> play;
  std::string role = "receiver";
  std::vector<std::string> needs = {};  // features
  std::string home = kNewestProfile;
  std::function<bool(const Profile&)> applies = nullptr;  // null: to all
  uint32_t max_size = 16384;
  uint32_t max_share = 65536;
  bool fresh = false;       // wants a testee of its own, and leaves none
  bool ends_port = false;   // no sanity message, no reset afterwards
  bool free_files = false;  // the testee may open files of its own (segments)
  bool direct = false;      // its messages are written without batching
  bool starts = true;       // false: the case sends `start` itself
  std::optional<conversation::Conversation> conversation = {};  // random ones
  bool sends = false;  // of these: the testee is the sender

  Case& Role(std::string value) { return role = std::move(value), *this; }
  Case& Needs(std::vector<std::string> value) { return needs = std::move(value), *this; }
  Case& Home(std::string value) { return home = std::move(value), *this; }
  Case& Applies(std::function<bool(const Profile&)> value) {
    return applies = std::move(value), *this;
  }
  Case& Sizes(uint32_t max, uint32_t share) { return max_size = max, max_share = share, *this; }
  Case& Fresh() { return fresh = true, *this; }
  Case& EndsPort() { return fresh = ends_port = true, *this; }
  Case& FreeFiles() { return fresh = free_files = true, *this; }
  Case& StartsItself() { return fresh = ends_port = true, starts = false, *this; }
};

using CaseList = std::vector<Case>;

// Appends a case; its rules begin with the one its name begins with.
Case& Add(CaseList& cases, const std::string& name, std::function<void(Stage&)> play,
          const std::vector<Rule>& more = {});

void AddHeaderCases(CaseList& cases);
void AddFragmentCases(CaseList& cases);
void AddDescriptorCases(CaseList& cases);
void AddLimitCases(CaseList& cases);
void AddComposeCases(CaseList& cases);
void AddSendCases(CaseList& cases);
void AddCompletionCases(CaseList& cases);
void AddMemoryCases(CaseList& cases);
void AddUnknownSegmentCases(CaseList& cases);
void AddSocketCases(CaseList& cases);
void AddSeldomCases(CaseList& cases);

CaseList FixedCases();

// A rule without a case, and why.
struct Unobservable {
  Rule rule;
  const char* why;
};
const std::vector<Unobservable>& UnobservableRules();

// A case that is not played with direct writes, and why.
struct OnlyBatched {
  const char* name;
  const char* why;
};
const std::vector<OnlyBatched>& OnlyBatchedCases();

bool GlobMatches(const std::string& glob, const std::string& text);

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_CASE_H_
