// Messages in fragments: FRG-1, FRG-2, FRG-3, FRG-5, FRG-6, FRG-7, IOV-4 and SND-5.
//
// One defect is one finding. What is left of a message whose defect was reported
// stays in the table as `absorbing`: its further fragments follow from the defect.
#include <algorithm>
#include <cstdio>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "oracle/checker_state.h"

namespace portproof {
namespace {

constexpr int64_t kStalledUs = 10000;  // FRG-5: the sender lived on this long
constexpr size_t kEndedMax = 4096;
constexpr size_t kStreamsMax = 1 << 20;
constexpr size_t kReferencesKept = 4096;
constexpr uint32_t kPlainIovecsMax = 8;
constexpr size_t kKinMax = 1024;  // open streams among which an altered one is looked for

std::string Seconds(int64_t us, int digits) {
  char text[40];
  snprintf(text, sizeof text, "%.*f s", digits, static_cast<double>(us) / 1e6);
  return text;
}

}  // namespace

// The sender in the key: the kernel's word where the profile has it, else the header's.
uint64_t Checker::State::KeyOf(const Datagram& datagram) const {
  const Profile& profile = *options_.profile;
  int32_t sender = 0;
  if (profile.key_has_sender) {
    sender = datagram.header.pid;
    const bool by_kernel = profile.credentials || datagram.pid_faulty;
    // Of a thread whose process is not known only the header says whose it is.
    const bool known = datagram.from_receive || datagram.event->pid != kNoPid;
    if (by_kernel && known && datagram.process != nullptr) sender = datagram.process->pid;
  }
  return uint64_t{static_cast<uint32_t>(sender)} << 32 | datagram.header.stream;
}

void Checker::State::JudgeStream(Datagram& datagram) {
  Port& port = *datagram.port;
  const Header& header = datagram.header;
  if (!datagram.killed) datagram.key = KeyOf(datagram);
  if (datagram.fragment() && datagram.payload_bytes() == 0) {
    findings_.Report(Rule::kFrg7, datagram.where(), "fragment with an empty payload");
  }
  auto found = port.streams.empty() ? port.streams.end() : port.streams.find(datagram.key);
  // Of a dead process only what was on its way when it died can go on.
  const bool was_on_its_way = datagram.killed || (header.nf && datagram.from_receive);
  if (found != port.streams.end() && found->second->dead && !was_on_its_way) {
    Close(port, *found->second);
    found = port.streams.end();
  }
  if (!header.nf && header.mf) return Begin(datagram);
  if (header.nf) {
    if (found == port.streams.end()) return Orphan(datagram);
    return Continue(datagram, *found->second);
  }
  ++datagram.tally->counts.messages;
  PassBy(datagram, datagram.sequence);
  if (!port.opened && port.ended.size() < kEndedMax) port.ended.insert(datagram.key);
  if (found == port.streams.end() || found->second->absorbing) return;
  Assembly& open = *found->second;
  // Of a dead process, it is left over; the pid may have come back, and been killed again.
  if (open.dead || FollowsFromLoss(port, datagram.Sender())) return Close(port, open);
  findings_.Report(Rule::kFrg6, datagram.where(),
                   absl::StrCat("unfragmented, while the message begun with datagram at line ",
                                open.first.line, " of this stream is unfinished"),
                   Lost::kFragment, datagram.key);
  // Perhaps its end, with nf lost: then that it never ends follows from this.
  open.explained |= open.type == header.type && open.reply_port == header.reply_port;
}

void Checker::State::Begin(Datagram& datagram) {
  Port& port = *datagram.port;
  ++datagram.tally->counts.fragmented_streams;
  begun_.insert(&port);
  std::unique_ptr<Assembly>& slot = port.streams[datagram.key];
  bool explained = false;
  const bool open = slot != nullptr && !slot->absorbing && !slot->dead;
  if (open && !FollowsFromLoss(port, datagram.Sender())) {
    ++slot->owed;
    findings_.Report(
        Rule::kFrg1, datagram.where(),
        absl::StrCat("second first fragment while the message begun at ",
                     slot->first.time_us == kNoTime ? absl::StrCat("line ", slot->first.line)
                                                    : Seconds(slot->first.time_us, 3),
                     " is unfinished"),
        Lost::kFragment, datagram.key);
    return;
  }
  if (slot != nullptr) {
    explained = slot->absorbing && slot->explained;
    Unlink(port, *slot);
  }
  slot = std::make_unique<Assembly>();
  Assembly& assembly = *slot;
  assembly.key = datagram.key;
  assembly.stream = datagram.header.stream;
  assembly.process = datagram.Sender();
  assembly.header_pid = datagram.header.pid;
  assembly.pid_faulty = datagram.pid_faulty;
  assembly.reply_port = datagram.header.reply_port;
  assembly.type = datagram.header.type;
  assembly.type_known = datagram.type.has_value();
  assembly.counted = true;
  // On a port without sends: its sender died while this was on its way (FRG-9).
  assembly.dead = datagram.from_receive && dead_.contains(assembly.process);
  assembly.explained = explained || assembly.dead;
  assembly.first = datagram.place();
  assembly.first_sequence = datagram.sequence;
  Advance(datagram, assembly);
}

// A later fragment of nothing.
void Checker::State::Orphan(Datagram& datagram) {
  Port& port = *datagram.port;
  const bool may_have_begun = !port.opened && !port.ended.contains(datagram.key);
  if (may_have_begun && !datagram.header.mf) {
    ++datagram.tally->counts.messages;
    if (port.ended.size() < kEndedMax) port.ended.insert(datagram.key);
    return;
  }
  if (!may_have_begun && !datagram.pid_faulty && !FollowsFromLoss(port, datagram.Sender())) {
    findings_.Report(Rule::kFrg2, datagram.where(),
                     "later fragment of a message that was not begun", Lost::kFragment,
                     datagram.key);
    // It may belong to another open message of its sender, whose stream was altered.
    const bool few = port.streams.size() <= kKinMax;
    for (auto& [key, other] : port.streams) {
      if (!few) break;
      if (other->process == datagram.Sender() && other->type == datagram.header.type &&
          other->reply_port == datagram.header.reply_port) {
        other->explained = true;
      }
    }
  }
  if (port.streams.size() >= kStreamsMax) return;
  begun_.insert(&port);
  std::unique_ptr<Assembly>& slot = port.streams[datagram.key];
  slot = std::make_unique<Assembly>();
  slot->key = datagram.key;
  slot->stream = datagram.header.stream;
  slot->process = datagram.Sender();
  slot->header_pid = datagram.header.pid;
  slot->reply_port = datagram.header.reply_port;
  slot->type = datagram.header.type;
  slot->absorbing = !may_have_begun;
  slot->explained = !may_have_begun;
  slot->first = datagram.place();
  if (may_have_begun) Advance(datagram, *slot);
}

void Checker::State::Continue(Datagram& datagram, Assembly& assembly) {
  Port& port = *datagram.port;
  const bool ends = !datagram.header.mf;
  if (assembly.absorbing) {
    if (!ends) return;
    if (assembly.owed > 0) {
      ++datagram.tally->counts.messages;
      --assembly.owed;
    }
    if (assembly.owed == 0) Close(port, assembly);
    return;
  }
  assembly.explained = assembly.dead;
  if (assembly.short_fragment) {
    findings_.Report(Rule::kIov4, assembly.short_fragment->AsWhere(),
                     "fragment is not full, though more follow and it has fewer than 8 iovecs");
    assembly.short_fragment.reset();
  }
  JudgeSameMessage(datagram, assembly);
  if (!ends) return Advance(datagram, assembly);
  if (assembly.owed == 0) JudgeOverlap(datagram, assembly);
  JudgeTurn(datagram, assembly);
  PassBy(datagram, assembly.first_sequence);
  ++datagram.tally->counts.messages;
  if (assembly.counted) ++datagram.tally->finished_streams;
  if (!port.opened && port.ended.size() < kEndedMax) port.ended.insert(assembly.key);
  if (assembly.owed == 0) return Close(port, assembly);
  Unlink(port, assembly);
  assembly.absorbing = true;
}

// FRG-3
void Checker::State::JudgeSameMessage(const Datagram& datagram, Assembly& assembly) {
  const Header& header = datagram.header;
  if (assembly.owed == 0 && !assembly.changed) {
    std::string changed;
    if (datagram.type && assembly.type_known && header.type != assembly.type) {
      changed = absl::StrCat("type ", TypeName(*options_.profile, header.type), ", first ",
                             TypeName(*options_.profile, assembly.type));
    } else if (header.reply_port != assembly.reply_port) {
      changed = absl::StrCat("reply_port ", header.reply_port, ", first ", assembly.reply_port);
    } else if (header.pid != assembly.header_pid && !datagram.pid_faulty && !assembly.pid_faulty) {
      changed = absl::StrCat("pid ", header.pid, ", first ", assembly.header_pid);
    } else if (assembly.last && !header.last) {
      changed = "last went back from 1 to 0";
    }
    if (!changed.empty()) {
      assembly.changed = true;
      findings_.Report(Rule::kFrg3, datagram.where(),
                       absl::StrCat("later fragment differs from its first: ", changed));
    }
  }
  assembly.last = assembly.last || header.last;
}

// A fragment after which more follow.
void Checker::State::Advance(const Datagram& datagram, Assembly& assembly) {
  const Event& event = *datagram.event;
  const Header& header = datagram.header;
  assembly.last = assembly.last || header.last;
  assembly.mmap = assembly.mmap || header.mmap;
  ++assembly.fragments;
  assembly.payload_bytes += datagram.payload_bytes();
  assembly.last_sequence = datagram.sequence;
  assembly.last_slot = datagram.slot;
  assembly.last_time_us = event.time_us;
  assembly.received = datagram.from_receive;
  const uint32_t limit = PayloadLimit(*options_.profile, datagram.port->max_size);
  // SHM-4: up to 12 bytes may be of a shared message, which has another run limit.
  const bool is_short =
      datagram.payload_bytes() > kReferenceBytes && datagram.payload_bytes() < limit;
  if (is_short && !assembly.mmap && event.iov > 0 && event.iov < kPlainIovecsMax) {
    assembly.short_fragment = datagram.place();
  }
  JudgeOverlap(datagram, assembly);
  if (!datagram.from_receive) JudgeTurn(datagram, assembly);
}

// SHM-2: a chunk named twice in one message, by different datagrams of it.
void Checker::State::JudgeOverlap(const Datagram& datagram, Assembly& assembly) {
  if (!datagram.header.mmap || references_.empty()) return;
  if (assembly.references.size() >= kReferencesKept) return;
  const size_t before = assembly.references.size();
  assembly.references.insert(assembly.references.end(), references_.begin(), references_.end());
  const std::optional<Overlap> overlap =
      before == 0 ? std::nullopt
                  : FindOverlap(assembly.references, GeometryOf(datagram.process), scratch_);
  if (overlap && (overlap->earlier < before) != (overlap->later < before)) {
    findings_.Report(
        Rule::kShm2, datagram.where(),
        absl::StrCat("reference to ", ToString(assembly.references[overlap->later]), " overlaps ",
                     ToString(assembly.references[overlap->earlier]), " of the same message"));
  }
}

Turns& Checker::State::TurnsOf(Port& port, int32_t process) {
  for (Turns& turns : port.turns) {
    if (turns.process == process) return turns;
  }
  std::erase_if(port.turns, [](const Turns& turns) { return turns.oldest == nullptr; });
  port.turns.push_back({process, nullptr, nullptr});
  return port.turns.back();
}

// SND-5: a message whose share is used up goes on only after each other begun one
// of its process and port. It is reported once the other one goes on.
void Checker::State::JudgeTurn(const Datagram& datagram, Assembly& assembly) {
  if (datagram.from_receive) return;
  Port& port = *datagram.port;
  if (assembly.overtaken_by) {
    findings_.Report(Rule::kSnd5, assembly.overtaken_by->AsWhere(),
                     absl::StrCat("goes on after its share of ", port.max_share,
                                  " bytes, before stream ", assembly.stream, ", which waits"),
                     Lost::kFragment, assembly.key);
    assembly.overtaken_by.reset();
  }
  Unlink(port, assembly);
  Turns& turns = TurnsOf(port, assembly.process);
  Assembly* waiting = turns.oldest;
  if (assembly.rotated_sequence != 0 && waiting != nullptr &&
      waiting->sent_sequence < assembly.rotated_sequence && !waiting->overtaken_by) {
    waiting->overtaken_by = datagram.place();
  }
  assembly.rotated_sequence = 0;
  if (!datagram.header.mf) return;
  assembly.older = turns.newest;
  (turns.newest != nullptr ? turns.newest->newer : turns.oldest) = &assembly;
  turns.newest = &assembly;
  assembly.sent_sequence = datagram.sequence;
  assembly.share += datagram.event->size;
  if (assembly.share >= port.max_share) {
    assembly.share = 0;
    // Of a message begun before the trace the share is not known.
    if (assembly.counted) assembly.rotated_sequence = datagram.sequence;
  }
}

// FRG-5 without times: `datagram` ends a message that was begun as event `begun`. What its
// sender left unfinished before that was passed by, unless its turn may not have come: it had
// used up its share, and nothing shows that the sender did anything but go through its queue.
void Checker::State::PassBy(const Datagram& datagram, uint64_t begun) {
  Port& port = *datagram.port;
  if (datagram.event->time_us != kNoTime || datagram.process == nullptr) return;
  if (port.streams.size() > kKinMax) return;
  for (auto& [key, other] : port.streams) {
    if (other->process != datagram.Sender() || other->last_sequence >= begun) continue;
    const uint64_t bytes = other->payload_bytes + kHeaderBytes * other->fragments;
    const bool may_wait = other->rotated_sequence != 0 || !other->counted ||
                          (datagram.from_receive && bytes >= port.max_share);
    const bool went_on = datagram.process->last_receive > other->last_sequence;
    other->passed_by |= !may_wait || went_on;
  }
}

void Checker::State::Unlink(Port& port, Assembly& assembly) {
  for (Turns& turns : port.turns) {
    if (turns.process != assembly.process) continue;
    if (turns.oldest == &assembly) turns.oldest = assembly.newer;
    if (turns.newest == &assembly) turns.newest = assembly.older;
  }
  if (assembly.older != nullptr) assembly.older->newer = assembly.newer;
  if (assembly.newer != nullptr) assembly.newer->older = assembly.older;
  assembly.older = assembly.newer = nullptr;
}

void Checker::State::Close(Port& port, Assembly& assembly) {
  Unlink(port, assembly);
  port.streams.erase(assembly.key);
}

void Checker::State::Received(Port& port, const Sent& sent, const Event& event) {
  const auto found = port.streams.find(sent.key);
  if (found == port.streams.end() || found->second->last_slot != sent.slot) return;
  Assembly& assembly = *found->second;
  assembly.received = true;
  if (event.time_us != kNoTime && assembly.last_time_us != kNoTime) {
    assembly.last_time_us = std::max(assembly.last_time_us, event.time_us);
  }
}

// FRG-5, when nothing more of it can come.
void Checker::State::Unfinished(Port& port, Assembly& assembly) {
  const bool follows = assembly.absorbing || assembly.explained;
  // The socket was full, or its reader dead: the sender could not go on.
  const bool stuck = port.receives_seen && !assembly.received;
  bool stalled = false;
  std::string lived;
  const int64_t end = time_.GreatestAfter(assembly.last_sequence);
  if (assembly.last_time_us != kNoTime && end != kNoTime) {
    stalled = end - assembly.last_time_us >= kStalledUs;
    lived = absl::StrCat("its sender lived ", Seconds(end - assembly.last_time_us, 1), " more");
  } else if (assembly.last_time_us == kNoTime) {
    stalled = assembly.passed_by;
    lived = "its sender finished a later message";
  }
  if (!follows && !stuck && stalled) {
    if (FollowsFromLoss(port, assembly.process)) return;
    const std::string begun = assembly.first.time_us == kNoTime
                                  ? ""
                                  : absl::StrCat(" at ", Seconds(assembly.first.time_us, 3));
    findings_.Report(
        Rule::kFrg5, assembly.first.AsWhere(),
        absl::StrCat("message begun", begun, " (", TypeName(*options_.profile, assembly.type), ", ",
                     assembly.fragments, " fragments, ", assembly.payload_bytes,
                     " bytes) was never finished; ", lived),
        Lost::kFragment, assembly.key);
  } else if (assembly.short_fragment && !follows) {
    findings_.Report(Rule::kIov4, assembly.short_fragment->AsWhere(),
                     "fragment is not full, though more follow and it has fewer than 8 iovecs");
  }
}

// HDR-1 was said of a datagram of this sender: what it was is not known, so one finding about
// the messages of that sender may follow from it.
bool Checker::State::FollowsFromLoss(Port& port, int32_t sender) {
  const auto lost = std::find_if(port.headerless.begin(), port.headerless.end(),
                                 [&](int32_t pid) { return pid == sender || pid == kNoPid; });
  if (lost == port.headerless.end()) return false;
  port.headerless.erase(lost);
  return true;
}

// FRG-9. What was on its way may be received after the death: what a thread was sending when
// it was killed; and, on a port without sends, anything.
void Checker::State::EndStreamsOfDead(Port& port, int32_t process) {
  std::vector<std::unique_ptr<Assembly>> kept;
  for (auto& [key, assembly] : port.streams) {
    if (assembly->process != process || (port.sends_seen && !assembly->dying)) continue;
    if (assembly->short_fragment && !assembly->explained) {
      findings_.Report(Rule::kIov4, assembly->short_fragment->AsWhere(),
                       "fragment is not full, though more follow and it has fewer than 8 iovecs");
      assembly->short_fragment.reset();
    }
    assembly->dead = assembly->explained = true;
    Unlink(port, *assembly);
    kept.push_back(std::move(assembly));
  }
  for (const auto& assembly : kept) port.streams.erase(assembly->key);
  EndStreams(port, process);
  for (auto& assembly : kept) {
    const uint64_t key = assembly->key;
    port.streams[key] = std::move(assembly);
  }
}

void Checker::State::EndStreams(Port& port, int32_t process) {
  std::vector<Assembly*> ended;
  for (auto& [key, assembly] : port.streams) {
    if (process == kNoPid || assembly->process == process) ended.push_back(assembly.get());
  }
  std::sort(ended.begin(), ended.end(), [](const Assembly* a, const Assembly* b) {
    return std::tie(a->first.slot, a->key) < std::tie(b->first.slot, b->key);
  });
  for (Assembly* assembly : ended) {
    Unfinished(port, *assembly);
    Close(port, *assembly);
  }
}

}  // namespace portproof
