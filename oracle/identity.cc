// HDR-6 and HDR-7: is the header's pid the sender's?
//
// A pid namespace makes every datagram of a process show one other number: that is
// one HDR-7 for the sender. A process that also shows its own, or several others, is
// judged per datagram, so what may still be constant waits until that is known.
#include "absl/strings/str_cat.h"
#include "oracle/checker_state.h"

namespace portproof {
namespace {

constexpr size_t kDifferingKept = 1000;

bool ExemptFromHdr7(const std::optional<Type>& type) {
  return type == Type::kReadQueue || type == Type::kWhoami || type == Type::kProcessCreated;
}

std::string Differs(int32_t header_pid, int32_t sender) {
  return absl::StrCat("header says pid ", header_pid, ", but the sender is ", sender);
}

}  // namespace

void Checker::State::JudgeIdentity(Datagram& datagram) {
  const Event& event = *datagram.event;
  const bool send_known = !datagram.from_receive && event.pid != kNoPid;
  Process* sender = send_known ? datagram.process : nullptr;
  if (datagram.from_receive) {
    if (event.cred_pid <= 0 || ExemptFromHdr7(datagram.type)) return;  // 0 says nothing
    sender = datagram.process;
  }
  if (sender == nullptr) return;
  const int32_t shown = datagram.header.pid;
  const Rule rule = send_known ? Rule::kHdr6 : Rule::kHdr7;
  const auto differs = [&](const Place& place, int32_t pid) {
    findings_.Report(rule, place.AsWhere(), Differs(pid, sender->pid));
  };
  const auto settle = [&] {
    for (const Place& place : sender->differing) differs(place, sender->other_pid);
    sender->differing.clear();
  };
  if (shown == sender->pid) {
    sender->shows_own_pid = true;
    settle();
    return;
  }
  if (!sender->shows_own_pid && !sender->shows_several &&
      (sender->differing.empty() || sender->other_pid == shown)) {
    sender->other_pid = shown;
    sender->send_known = send_known;
    // Exempt datagrams do not make it a finding by themselves, but may have been HDR-6.
    if (ExemptFromHdr7(datagram.type)) return;
    if (sender->differing.size() < kDifferingKept) sender->differing.push_back(datagram.place());
    return;
  }
  sender->shows_several = true;
  settle();
  datagram.pid_faulty = true;
  datagram.faulty = true;
  differs(datagram.place(), shown);
}

bool Checker::State::EndIdentity(Process& process, bool named) {
  if (named) return true;
  if (process.shows_own_pid || process.shows_several || process.differing.empty()) return false;
  findings_.Report(Rule::kHdr7, process.differing.front().AsWhere(),
                   absl::StrCat(Differs(process.other_pid, process.pid), ", in all its datagrams"));
  return true;
}

}  // namespace portproof
