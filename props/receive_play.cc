#include "props/receive_play.h"

#include <algorithm>
#include <sstream>
#include <string_view>
#include <variant>
#include <vector>

#include "props/machine_process.h"
#include "props/naive_process.h"
#include "props/wire.h"

namespace portproof {
namespace {

using conversation::File;
using conversation::Trouble;

const Profile& ProfileOf(const conversation::Setup& setup) {
  return Profiles()[setup.profile_row() % Profiles().size()];
}

Port PortFor(const conversation::Setup& setup) {
  Port port = PortOf(ProfileOf(setup));
  port.max_size = setup.payload_bytes() + 16;
  port.takes_fragments = setup.takes_fragments();
  port.open_per_sender = setup.open_per_sender();
  port.open = setup.open_max();
  port.assembly_bytes = setup.assembly_bytes();
  port.bytes = setup.kept_bytes();
  return port;
}

int32_t PidOf(uint8_t sender) { return 101 + sender; }

void Put(std::string& bytes, uint32_t value, int width) {
  for (int i = 0; i < width; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
}

// First chunk and bytes of the i-th reference; from 60 on, edges.
std::pair<uint32_t, uint32_t> RangeOf(uint8_t chunk, uint32_t i) {
  if (chunk < 60) return {chunk + 2 * i, i % 2 == 0 ? kWireChunkBytes : kWireChunkBytes + 1};
  switch (chunk) {
    case 60:
      return {63, kWireChunkBytes};
    case 61:
      return {63, kWireChunkBytes + 1};
    case 62:
      return {64, 1};
    case 63:
      return {5, 0};
    case 64:
      return {5, 0xffffffff};
    case 65:
      return {0xffffffff, 17};
    case 66:
      return {0, kWireChunks * kWireChunkBytes};
    case 67:
      return {0x10000000, kWireChunkBytes};  // times 16: 2^32
    default:
      return {chunk % kWireChunks, chunk};
  }
}

class ReceivePlay {
 public:
  ReceivePlay(const conversation::Setup& setup, std::set<std::string>* reached,
              const std::function<void(const std::string&)>& narrator)
      : setup_(setup),
        port_(PortFor(setup)),
        machine_(ProfileOf(setup), port_, setup.ports()),
        naive_(port_, setup.ports()),
        reached_(reached),
        narrator_(narrator) {}

  std::string Run(const std::vector<conversation::Action>& actions) {
    TellSetup();
    for (const conversation::Action& action : actions) {
      if (action.index() < conversation::kFirstOfReceivers) continue;
      if (narrator_) narrator_(conversation::ToString(action));
      std::visit([this](const auto& one) { Act(one); }, action);
      if (!difference_.empty()) return difference_;
    }
    Finish();
    return difference_;
  }

 private:
  void TellOutcome() const {
    if (!narrator_) return;
    std::ostringstream text;
    text << "    " << of_machine_;
    narrator_(text.str());
  }
  void TellSetup() const {
    if (!narrator_) return;
    std::ostringstream text;
    text << ProfileOf(setup_).newest << ", " << setup_.ports() << " ports, MAX " << port_.max_size
         << (port_.takes_fragments ? "" : ", no fragments") << "; FRG-8: " << port_.open_per_sender
         << " open of a sender, " << port_.open << " in all, " << port_.assembly_bytes
         << " bytes each, " << port_.bytes << " in all";
    narrator_(text.str());
  }
  void Reach(std::string_view name) {
    if (reached_ != nullptr) reached_->emplace(name);
  }
  void Require(bool holds, const char* what) {
    if (holds || !difference_.empty()) return;
    std::ostringstream text;
    text << what << ": the machine: " << of_machine_ << "the naive process: " << of_naive_ << "\n"
         << ToString(machine_.machine());
    difference_ = text.str();
  }
  uint32_t PlaceOf(uint8_t port) const { return port % setup_.ports(); }

  // Of senders: not this player's.
  template <typename Other>
  void Act(const Other&) {}

  void Act(const conversation::Arrive& arrive) {
    const uint32_t port = PlaceOf(arrive.port);
    const Wire wire = MakeWire(arrive);
    if (arrive.mmap && arrive.fresh) TakeChunks(arrive);
    came_ += wire.fds.size();
    before_ = machine_.machine();
    machine_.Receive(port, wire, of_machine_);
    naive_.Receive(port, wire, of_naive_);
    Compare();
    CheckRefusal();
    if (of_machine_.ended) {
      Reach("the end of file");
      Act(conversation::Reopen{arrive.port});
    }
  }

  void Act(const conversation::Announce& announce) {
    Wire wire;
    const int32_t sender = PidOf(announce.sender);
    wire.bytes = HeaderBytes(0, sender, port_.mmap_type);
    const File file = announce.file;
    const int fds = file == File::kNone ? 0 : file == File::kTwo ? 2 : 1;
    for (int i = 0; i < fds; ++i) wire.fds.push_back(next_fd_++);
    wire.rights_messages = fds > 0 ? 1 : 0;
    wire.credentials_pid = sender;
    wire.file = {.id = announce.id,
                 .source = file == File::kForeign ? sender + 1 : sender,
                 .right_size = file != File::kWrongSize,
                 .sealed = file != File::kUnsealed && file != File::kGuarded,
                 .guarded = file == File::kGuarded,
                 .maps = file != File::kUnmappable};
    came_ += wire.fds.size();
    const size_t mapped = machine_.machine().segments().mapped();
    machine_.Receive(PlaceOf(announce.port), wire, of_machine_);
    naive_.Receive(PlaceOf(announce.port), wire, of_naive_);
    Compare();
    if (machine_.machine().segments().mapped() > mapped) Reach("announced");
    if (machine_.machine().ready()) Reach("an announcement lets one go on");
  }

  void Act(const conversation::GoOn&) {
    const bool ready = machine_.machine().ready().has_value();
    machine_.GoOn(of_machine_);
    naive_.GoOn(of_naive_);
    Compare();
    if (ready) Reach("resumed");
    if (ready && !of_machine_.refused.empty()) Reach("refused when resumed");
    if (ready && of_machine_.delivered) Reach("delivered when resumed");
  }

  void Act(const conversation::Release& release) {
    if (machine_.taken() > 0) Reach("released");
    machine_.Release(release.which, of_machine_);
    naive_.Release(release.which, of_naive_);
    Compare();
    if (of_machine_.unmapped != 0) Reach("unmapped by the last release");
  }

  void Act(const conversation::Forget& forget) {
    const uint32_t port = PlaceOf(forget.port);
    machine_.SenderDied(port, PidOf(forget.sender), of_machine_);
    naive_.SenderDied(port, PidOf(forget.sender), of_naive_);
    Compare();
    if (of_machine_.unmapped != 0) Reach("a death unmaps");
    if (machine_.machine().segments().held_chunks() > 0) Reach("a death beside chunks held");
  }

  void Act(const conversation::Reopen& reopen) {
    const uint32_t port = PlaceOf(reopen.port);
    if (machine_.machine().held(port).count() > 0) Reach("closed with something held");
    machine_.Reopen(port, of_machine_);
    naive_.Reopen(port, of_naive_);
    Compare();
  }

  void Act(const conversation::Tamper& tamper) {
    const int32_t sender = PidOf(tamper.sender);
    if (tamper.spoils) {
      machine_.Spoil(sender, tamper.id);
      naive_.Spoil(sender, tamper.id);
    } else {
      machine_.Turn(sender, tamper.id, tamper.chunk);
      naive_.Turn(sender, tamper.id, tamper.chunk);
    }
  }

  std::string HeaderBytes(uint32_t stream, int32_t pid, uint8_t type) const {
    std::string bytes;
    Put(bytes, stream, 4);
    Put(bytes, static_cast<uint32_t>(pid), 4);
    Put(bytes, 0, 2);
    bytes.push_back(static_cast<char>(type));
    bytes.append(5, '\0');
    return bytes;
  }

  uint8_t TypeOf(uint8_t type) const {
    constexpr uint8_t kOrdinary[] = {3, 4, 0, 1, 2};
    if (type == 3 && !port_.pid_free_types.empty()) {
      return static_cast<uint8_t>(port_.pid_free_types.back());
    }
    if (type == 4 && port_.read_queue_type >= 0) {
      return static_cast<uint8_t>(port_.read_queue_type);
    }
    if (type < 5) return kOrdinary[type];
    if (type == 5) return port_.remove_pid_type;
    return type == 6 ? port_.mmap_type : static_cast<uint8_t>(port_.type_count);
  }

  void PutPayload(const conversation::Arrive& arrive, std::string& bytes) const {
    if (arrive.mmap && arrive.bytes != 255) {
      if (port_.has_tracking && arrive.tracked) {
        Put(bytes, arrive.ids[0], 4);
        Put(bytes, arrive.bytes, 4);
      }
      for (uint32_t i = 0; i < arrive.references; ++i) {
        const auto [chunk, count] = RangeOf(arrive.chunk, i);
        Put(bytes, arrive.ids[i % 2], 4);
        Put(bytes, chunk, 4);
        Put(bytes, count, 4);
      }
    } else if (arrive.type == 5 && arrive.bytes % 4 == 0) {
      Put(bytes, static_cast<uint32_t>(PidOf(arrive.ids[0] % conversation::kSendersMax)), 4);
    } else {
      const uint32_t count = arrive.mmap ? 13 : arrive.bytes;
      for (uint32_t i = 0; i < count; ++i) bytes.push_back(static_cast<char>(i + came_));
    }
  }

  Wire MakeWire(const conversation::Arrive& arrive) {
    const int32_t sender = PidOf(arrive.sender);
    Wire wire;
    const char flag = arrive.trouble == Trouble::kFlagOfTwo ? 2 : 1;
    std::string& bytes = wire.bytes;
    bytes = HeaderBytes(arrive.stream, sender, TypeOf(arrive.type));
    if (arrive.other_reply) bytes[8] = bytes[9] = '\xff';
    bytes[11] = arrive.last ? flag : 0;
    bytes[12] = arrive.mmap ? flag : 0;
    bytes[13] = arrive.nf ? flag : 0;
    bytes[14] = arrive.mf ? flag : 0;
    bytes[15] = arrive.tracked ? 1 : 0;
    PutPayload(arrive, bytes);
    if (arrive.trouble == Trouble::kShort) bytes.resize(arrive.bytes % 16);
    const bool zero = arrive.trouble == Trouble::kNoBytes || arrive.trouble == Trouble::kHungUp;
    if (zero) bytes.clear();
    for (int i = 0; i < arrive.fds; ++i) wire.fds.push_back(next_fd_++);
    wire.rights_messages = arrive.trouble == Trouble::kTwoRights ? 2 : arrive.fds > 0 ? 1 : 0;
    wire.truncated = arrive.trouble == Trouble::kTruncated;
    wire.control_truncated = arrive.trouble == Trouble::kControlTruncated;
    wire.hung_up = arrive.trouble == Trouble::kHungUp;
    wire.credentials_pid = arrive.credentials == 2   ? 0
                           : arrive.credentials == 3 ? 101 + (arrive.sender + 1) % 4
                                                     : sender;
    return wire;
  }

  // As a sender does that allocates what it names.
  void TakeChunks(const conversation::Arrive& arrive) {
    const int32_t sender =
        arrive.credentials == 3 ? 101 + (arrive.sender + 1) % 4 : PidOf(arrive.sender);
    for (uint32_t i = 0; i < arrive.references; ++i) {
      const auto [first, count] = RangeOf(arrive.chunk, i);
      for (uint64_t chunk = first; chunk < kWireChunks && chunk < first + (count + 15ULL) / 16;
           ++chunk) {
        machine_.Take(sender, arrive.ids[i % 2], static_cast<uint32_t>(chunk));
        naive_.Take(sender, arrive.ids[i % 2], static_cast<uint32_t>(chunk));
      }
    }
  }

  void Compare() {
    TellOutcome();
    Require(SameOutcome(of_machine_, of_naive_), "outcome");
    for (uint32_t port = 0; port < setup_.ports(); ++port) ComparePort(port);
    const SegmentTable& segments = machine_.machine().segments();
    Require(segments.mapped() == naive_.mapped(), "segments mapped");
    Require(segments.held_chunks() == naive_.held_chunks(), "chunks held");
    Census();
    Classify();
  }

  void ComparePort(uint32_t port) {
    const Reassembly& assemblies = machine_.machine().assemblies(port);
    const size_t held = machine_.machine().held(port).count();
    Require(assemblies.open() == naive_.open(port), "how many are open");
    Require(held == naive_.held(port), "how many are held");
    Require(assemblies.budget().count() == naive_.open(port) + naive_.held(port), "the count");
    Require(assemblies.budget().bytes() == naive_.bytes(port), "the bytes");
    const ReassemblyLimits limits{port_.open_per_sender, port_.open, port_.assembly_bytes,
                                  port_.bytes};
    Require(machine_.MemoryBytes(port) <= MemoryBytesMax(limits) + HeldBytesMax(limits), "memory");
    if (assemblies.open() > 1) Reach("several open");
    if (assemblies.open() > 0 && held > 0) Reach("held beside an assembly");
    if (held > 1) Reach("several held");
  }

  // FDS-5: every descriptor has one end, or is kept.
  void Census() {
    for (const int fd : of_machine_.closed) End(fd);
    if (!of_machine_.delivered) return;
    for (const int fd : of_machine_.message.fds) End(fd);
  }
  void End(int fd) {
    ends_.resize(came_);
    Require(++ends_.at(static_cast<size_t>(fd)) == 1, "a descriptor ended twice");
    ++ended_;
  }

  // RCV-5. What the text of a state leaves out is no part of what was received: how many came
  // without descriptors, and which pids were reported. SHM-8 refuses a message, which may have
  // been an assembly.
  void CheckRefusal() {
    if (of_machine_.refused.empty()) return;
    const Rule rule = *FindRule(of_machine_.refused);
    if (Discards(rule) || rule == Rule::kShm8) return;
    Require(ToString(before_) == ToString(machine_.machine()), "a refusal changed the state");
  }

  void Classify() {
    if (reached_ == nullptr) return;
    const Outcome& outcome = of_machine_;
    if (!outcome.refused.empty()) Reach("refused " + std::string(outcome.refused));
    for (const auto rule : outcome.discarded) Reach("discarded " + std::string(rule));
    for (const auto rule : outcome.reported) Reach("reported " + std::string(rule));
    if (outcome.kept) Reach("held");
    if (outcome.kept && outcome.asks.empty()) Reach("held without asking");
    if (outcome.cancelled) Reach("cancelled");
    if (!outcome.refused.empty() && !outcome.freed.empty()) Reach("freed by a refusal");
    if (!outcome.delivered) return;
    const std::string& kinds = outcome.message.kinds;
    if (!outcome.message.fds.empty()) Reach("delivered with fds");
    if (kinds.find('s') != std::string::npos) Reach("delivered references");
    if (kinds.find("ps") != std::string::npos || kinds.find("sp") != std::string::npos) {
      Reach("delivered both kinds");
    }
  }

  // Everything is closed and released: nothing is left.
  void Finish() {
    if (narrator_) narrator_("in the end all is closed, released and dead");
    for (uint32_t port = 0; port < setup_.ports(); ++port) {
      Act(conversation::Reopen{static_cast<uint8_t>(port)});
    }
    while (machine_.taken() > 0) Act(conversation::Release{0});
    for (uint8_t sender = 0; sender < 4; ++sender) Act(conversation::Forget{sender, 0});
    Require(machine_.machine().segments().mapped() == 0, "a segment is left mapped");
    Require(ended_ == came_, "a descriptor is left");
  }

  conversation::Setup setup_;
  Port port_;
  MachineProcess machine_;
  NaiveProcess naive_;
  ReceiveMachine before_ = ReceiveMachine(SegmentConfig());
  Outcome of_machine_;
  Outcome of_naive_;
  std::set<std::string>* reached_;
  const std::function<void(const std::string&)>& narrator_;
  std::vector<int> ends_;  // by descriptor
  size_t came_ = 0;
  size_t ended_ = 0;
  int next_fd_ = 0;
  std::string difference_;
};

}  // namespace

std::string PlayReceivers(const conversation::Conversation& conversation,
                          std::set<std::string>* reached,
                          const std::function<void(const std::string&)>& narrator) {
  return ReceivePlay(conversation.setup, reached, narrator).Run(conversation.actions);
}

}  // namespace portproof
