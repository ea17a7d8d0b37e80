// HDR-6 and HDR-7: is the header's pid the sender's?
//
// A pid namespace makes every datagram of a process show one other number: that is
// one HDR-7 for the sender. A process that also shows its own, or several others, is
// judged per datagram, so what may still be constant waits until that is known.
//
// Where the send is recorded, the recorder's number decides. Where only the receipt is, the
// credentials do, unless the receiver is in a pid namespace itself: then all the numbers it is
// told are its own view.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "oracle/checker_state.h"

namespace portproof {
namespace {

constexpr size_t kDifferingKept = 1000;

bool IsExempt(const std::optional<Type>& type) {
  return type == Type::kReadQueue || type == Type::kWhoami || type == Type::kProcessCreated;
}

std::string Differs(int32_t header_pid, int32_t sender) {
  return absl::StrCat("header says pid ", header_pid, ", but the sender is ", sender);
}

// Adds one datagram to what its sender showed. True: the sender is known to show several.
bool Meet(Identity& identity, int32_t sender, int32_t shown) {
  if (shown == sender) {
    identity.shows_own_pid = true;
    return identity.shows_several;
  }
  const bool first = identity.other_pid == kNoPid;
  if (first) identity.other_pid = shown;
  identity.shows_several |= identity.other_pid != shown;
  return identity.shows_several || identity.shows_own_pid;
}

}  // namespace

void Checker::State::JudgeIdentity(Datagram& datagram) {
  if (IsExempt(datagram.type)) return;
  if (datagram.from_receive) return JudgeSender(datagram);
  if (datagram.event->pid != kNoPid && datagram.process != nullptr) JudgeSignature(datagram);
}

// HDR-6, where the send is recorded.
void Checker::State::JudgeSignature(Datagram& datagram) {
  const int32_t sender = datagram.process->pid;
  const int32_t shown = datagram.header.pid;
  Identity& identity = datagram.process->identity;
  const bool several = Meet(identity, sender, shown);
  if (several || identity.shows_own_pid) {
    for (const Place& place : identity.differing) {
      findings_.Report(Rule::kHdr6, place.AsWhere(), Differs(identity.other_pid, sender));
    }
    identity.differing.clear();
  }
  if (shown == sender) return;
  if (!several) {
    if (identity.differing.size() < kDifferingKept) identity.differing.push_back(datagram.place());
    return;
  }
  datagram.pid_faulty = datagram.faulty = true;
  findings_.Report(Rule::kHdr6, datagram.where(), Differs(shown, sender));
}

// HDR-7, where only the receipt is recorded: kept until it is known how the receiver sees pids.
void Checker::State::JudgeSender(Datagram& datagram) {
  const int32_t sender = datagram.event->cred_pid;
  if (sender <= 0) return;  // 0 says nothing
  Process& receiver = datagram.receiver == nullptr ? nobody_ : *datagram.receiver;
  Identity& identity = receiver.senders[sender];
  const bool several = Meet(identity, sender, datagram.header.pid);
  if (datagram.header.pid == sender) return;
  datagram.pid_faulty = datagram.faulty = several && !receiver.sees_other_pids;
  if (identity.differing.size() >= kDifferingKept) return;
  identity.differing.push_back(datagram.place());
  identity.differing.back().pid = sender;
  identity.differing.back().header_pid = datagram.header.pid;
}

bool Checker::State::EndIdentity(Process& process, bool named) {
  EndSenders(process);
  const Identity& identity = process.identity;
  if (named) return true;
  if (identity.shows_own_pid || identity.shows_several || identity.differing.empty()) return false;
  findings_.Report(
      Rule::kHdr7, identity.differing.front().AsWhere(),
      absl::StrCat(Differs(identity.other_pid, process.pid), ", in all its datagrams"));
  return true;
}

void Checker::State::EndSenders(Process& receiver) {
  const auto constant = [](const Identity& identity) {
    return !identity.shows_own_pid && !identity.shows_several;
  };
  const bool all = std::all_of(receiver.senders.begin(), receiver.senders.end(),
                               [&](const auto& sender) { return constant(sender.second); });
  const bool own_view = receiver.sees_other_pids || (all && receiver.senders.size() > 1);
  // The recorder knows the process the header names, and none that the credentials name.
  const auto inside = [this](int32_t header_pid, int32_t sender) {
    return Acted(header_pid) && !Acted(sender);
  };
  std::vector<int32_t> pids;
  for (const auto& [pid, identity] : receiver.senders) pids.push_back(pid);
  std::sort(pids.begin(), pids.end());
  for (const int32_t pid : pids) {
    const Identity& identity = receiver.senders[pid];
    if (own_view || identity.differing.empty()) continue;
    const bool once = constant(identity);
    if (once && inside(identity.other_pid, pid)) continue;
    for (const Place& place : identity.differing) {
      findings_.Report(
          Rule::kHdr7, place.AsWhere(),
          absl::StrCat(Differs(place.header_pid, pid), once ? ", in all its datagrams" : ""));
      if (once) break;
    }
  }
  receiver.senders.clear();
}

// Some event of the trace is that process's own.
bool Checker::State::Acted(int32_t pid) const {
  const auto process = processes_.find(pid);
  if (process != processes_.end() && process->second->acted) return true;
  const auto dead = dead_.find(pid);
  return dead != dead_.end() && dead->second.acted;
}

Process* Checker::State::ReceiverOf(const Port& port) {
  const auto receiver = processes_.find(port.receiver);
  const bool same =
      receiver != processes_.end() && receiver->second->serial == port.receiver_serial;
  return same ? receiver->second.get() : nullptr;
}

}  // namespace portproof
