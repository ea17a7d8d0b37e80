#include "protocol/control.h"

#include "absl/strings/str_cat.h"

namespace portproof {
namespace {

using enum Rule;

std::optional<Rule> FirstFailure(const Received& received, const std::optional<Header>& header,
                                 const Intake& receiver) {
  if (received.rights_messages > 1 || received.fds > receiver.profile->fds_max) return kFds2;
  if (received.control_truncated) return kRcv1;  // FDS-7
  if (received.bytes < kHeaderBytes || !header) return kHdr1;
  if (received.truncated || received.bytes > DatagramBytesMax(receiver.max_size)) return kRcv1;
  const bool has_handler =
      header->type < receiver.profile->types.size() && receiver.handled.Has(header->type);
  if (!has_handler) return kHdr4;
  if (header->nf && received.fds > 0) return kFds1;
  return std::nullopt;
}

// Types whose header may carry another pid than the sender's (HDR-7).
bool PidMayDiffer(const Profile& profile, uint8_t number) {
  const std::optional<Type> type = TypeOf(profile, number);
  return type == Type::kReadQueue || type == Type::kWhoami || type == Type::kProcessCreated;
}

}  // namespace

Admission Admit(const Received& received, const std::optional<Header>& header,
                const Intake& receiver) {
  Admission admission;
  admission.refused = FirstFailure(received, header, receiver);
  admission.fds = admission.refused ? Fate::kClose : Fate::kAdopt;
  if (header) {
    admission.sender = SenderOf(received, *header);
    admission.pid_differs =
        admission.sender != header->pid && !PidMayDiffer(*receiver.profile, header->type);
  }
  return admission;
}

bool Discards(Rule rule) {
  return rule == kRcv1 || rule == kFrg3 || rule == kFrg8 || rule == kShm1 || rule == kShm2 ||
         rule == kShm10;
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
