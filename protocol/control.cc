#include "protocol/control.h"

#include "absl/strings/str_cat.h"

namespace portproof {
namespace {

using enum Rule;

}  // namespace

bool PidMayDiffer(const Profile& profile, uint8_t number) {
  const std::optional<Type> type = TypeOf(profile, number);
  return type == Type::kReadQueue || type == Type::kWhoami || type == Type::kProcessCreated;
}

bool Discards(Rule rule) {
  return rule == kRcv1 || rule == kFrg3 || rule == kFrg8 || rule == kShm1 || rule == kShm2 ||
         rule == kShm10 || rule == kShm14;
}

std::string ToString(const Admission& admission) {
  if (admission.refused) {
    const std::string_view id = Id(*admission.refused);
    return absl::StrCat("refuse ", absl::string_view(id.data(), id.size()));
  }
  return absl::StrCat("admit from ", admission.sender,
                      admission.pid_differs ? ", pid differs" : "");
}

}  // namespace portproof
