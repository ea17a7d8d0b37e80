#include "props/play.h"

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"

namespace portproof {
namespace {

using conversation::Answer;
using conversation::BufferSpec;
using conversation::Shape;

constexpr uint64_t kSegmentsBegin = uint64_t{1} << 40;  // segments are mapped from here on
constexpr uint64_t kSegmentStride = 1 << 20;

const char* ErrorName(Answer answer) {
  switch (answer) {
    case Answer::kPartial:
    case Answer::kNoDescriptors:
      return "";
    case Answer::kWouldBlock:
      return "EAGAIN";
    case Answer::kBusy:
      return "ENOBUFS";
    case Answer::kMessageError:
      return "EMSGSIZE";
    case Answer::kPortError:
      return "EPIPE";
  }
  return "";
}

}  // namespace

uint8_t ByteAt(uint8_t sender, uint64_t address) {
  const uint64_t mixed = (address + uint64_t{sender} * 0x1234567) * 0x9e3779b97f4a7c15;
  return static_cast<uint8_t>(mixed >> 56);
}

uint64_t SegmentAddress(uint32_t segment_id, uint32_t segment_offset) {
  return kSegmentsBegin + segment_id * kSegmentStride + segment_offset;
}

const Profile& PlayProfile(const conversation::Setup& setup) {
  static const Profile& keyed_by_stream = *ResolveProfile("unit-1.8.0")->profile;
  static const Profile& newest = *ResolveProfile("unit-1.35.0")->profile;
  return setup.stream_keyed ? keyed_by_stream : newest;
}

int32_t PlayPid(uint8_t sender) { return 1000 + sender; }

Play::Play(const conversation::Setup& setup, std::vector<Recipient*> recipients)
    : setup_(setup), recipients_(std::move(recipients)) {
  const Profile& profile = PlayProfile(setup);
  for (uint8_t i = 0; i < setup.senders; ++i) {
    senders_.emplace_back(SendLimits{.pid = PlayPid(i),
                                     .payload_bytes = setup.payload_bytes(),
                                     .share_bytes = setup.share_bytes(),
                                     .chunk_bytes = kPlayChunkBytes,
                                     .type_count = static_cast<uint32_t>(profile.types.size()),
                                     .fds_per_message = profile.fds_max,
                                     .messages_max = setup.messages_max(),
                                     .bytes_max = setup.bytes_max(),
                                     .fds_max = setup.fds_max(),
                                     .mmap_type = *NumberOf(profile, Type::kMmap)},
                          findings_);
  }
}

void Play::Perform(const conversation::Action& action) {
  Tell(conversation::ToString(action));
  std::visit([this](const auto& value) { Act(value); }, action);
  Settle();
}

void Play::Settle() {
  for (Sender& sender : senders_) {
    if (!sender.dead) sender.laws.Settled(sender.batched);
  }
}

void Play::Find(Law law, Rule rule, const std::string& text) {
  findings_.push_back({law, rule, text});
}

// ---------------------------------------------------------------- writing

void Play::Act(const conversation::Write& write) {
  const auto index = static_cast<uint8_t>(write.sender % setup_.senders);
  Sender& sender = senders_[index];
  if (sender.dead) return;
  const std::vector<Buffer> chain = MakeChain(sender, write);
  const Profile& profile = PlayProfile(setup_);
  WriteRequest request;
  // Where the stream alone is the key, honest senders use different ones.
  request.stream = write.stream + (setup_.stream_keyed ? index * conversation::kStreamsMax : 0u);
  request.type = *NumberOf(
      profile, std::array{Type::kData, Type::kRpcReady, Type::kRpcError, Type::kQuit}[write.type]);
  request.last = write.last;
  request.batch = write.batch;
  request.close_fds = write.close_fds;
  request.fd_count = std::min<uint8_t>(write.fds, 2);
  for (size_t i = 0; i < request.fd_count; ++i) request.fds[i] = next_fd_++;
  request.writer = write.writer;
  request.chain = chain;
  request.message_id = next_message_++;
  request.reply_port = static_cast<uint16_t>(request.message_id + 1);
  NoteQueued(sender, request.stream);
  SendActions expected;
  sender.model.Write(request, expected);
  writing_ = {&request, ~0u};
  Wrote(index, request, Do(sender, request, expected));
}

void Play::NoteQueued(const Sender& sender, uint32_t stream) {
  for (const auto& [id, message] : sender.laws.messages()) {
    if (!message.finished && !message.failed && !message.withdrawn &&
        message.request.stream == stream) {
      reached_.insert("same stream queued twice");
    }
  }
}

std::vector<Buffer> Play::MakeChain(Sender& sender, const conversation::Write& write) {
  std::vector<Buffer> chain;
  uint64_t plain_end = sender.next_address;
  uint64_t shared_end = 0;
  for (const BufferSpec& spec : write.chain) {
    Buffer buffer;
    buffer.id = 1000 * next_message_ + chain.size();
    buffer.bytes = spec.Bytes(setup_.payload_bytes());
    switch (spec.shape) {
      case Shape::kSync:
        buffer.kind = BufferKind::kSync;
        buffer.last = spec.marked;
        break;
      case Shape::kEmpty:
        buffer.address = plain_end;
        break;
      case Shape::kShared:
        PlaceShared(sender, spec, shared_end, buffer);
        break;
      case Shape::kPlain:
        buffer.address = plain_end + (spec.adjacent ? 0 : 5);
        plain_end = buffer.address + buffer.bytes;
        break;
    }
    chain.push_back(buffer);
  }
  sender.next_address = plain_end + 5;
  return chain;
}

// Chunks are handed out from the front and never again: SHM-6 is not this play's subject.
void Play::PlaceShared(Sender& sender, const BufferSpec& spec, uint64_t& end, Buffer& buffer) {
  const uint32_t chunks = std::max(1u, (buffer.bytes + kPlayChunkBytes - 1) / kPlayChunkBytes);
  const uint32_t gap = spec.adjacent && end != 0 ? 0 : kPlayChunkBytes;
  uint32_t segment = sender.segments - 1;
  uint32_t used = sender.segment_used;
  if (sender.segments == 0 ||
      sender.segment_used + gap + chunks * kPlayChunkBytes > kPlaySegmentBytes) {
    const auto index = static_cast<uint8_t>(
        std::find_if(senders_.begin(), senders_.end(),
                     [&sender](const Sender& other) { return &other == &sender; }) -
        senders_.begin());
    const std::optional<uint32_t> announced = Announce(index);
    if (!announced) {  // not usable, so the message goes plain
      buffer.kind = BufferKind::kShared;
      buffer.address = SegmentAddress(0, static_cast<uint32_t>(sender.next_address % 65536));
      sender.next_address += buffer.bytes + 5;
      return;
    }
    segment = *announced;
    used = sender.used_of[segment];  // by what named it before its announcement failed
  }
  buffer.kind = BufferKind::kShared;
  buffer.segment_id = segment;
  buffer.segment_offset = used + gap + (spec.marked ? 1 : 0);
  buffer.address = SegmentAddress(buffer.segment_id, buffer.segment_offset);
  buffer.usable = true;
  // One whose announcement has failed already is of no more use.
  const uint32_t taken = used + gap + (chunks + (spec.marked ? 1 : 0)) * kPlayChunkBytes;
  sender.used_of[segment] = taken;
  sender.segment_used = sender.segments == segment + 1 ? taken : kPlaySegmentBytes;
  end = buffer.address + buffer.bytes;
}

// SHM-10: a segment is announced before anything refers to it. Its id, where that is accepted;
// a completion tells later that it failed.
std::optional<uint32_t> Play::Announce(uint8_t index) {
  Sender& sender = senders_[index];
  const uint32_t segment = sender.segments;
  AnnounceSegment announce;
  announce.segment_id = segment;
  announce.fd = next_fd_++;
  announce.stream = setup_.stream_keyed ? index * conversation::kStreamsMax : 0;
  announce.message_id = next_message_++;
  announce.reply_port = static_cast<uint16_t>(announce.message_id + 1);
  NoteQueued(sender, announce.stream);
  // The same as a write, for the laws.
  WriteRequest request;
  request.stream = announce.stream;
  request.reply_port = announce.reply_port;
  request.type = sender.machine.limits().mmap_type;
  request.last = true;
  request.fd_count = 1;
  request.fds[0] = announce.fd;
  request.message_id = announce.message_id;
  SendActions expected;
  sender.model.Announce(announce, expected);
  sender.announcements[announce.message_id] = segment;
  sender.segments = segment + 1;
  writing_ = {&request, segment};
  if (!Wrote(index, request, Do(sender, announce, expected))) {
    sender.segments = std::min(sender.segments, segment);
    return std::nullopt;
  }
  const bool failed = !sender.machine.announced(segment);
  if (sender.lost.contains(segment) && !failed) reached_.insert("announced again");
  return segment;
}

// The segment that the plan's first datagram announces.
std::optional<uint32_t> Play::AnnouncedNext(const Sender& sender, const SendPlan& plan) const {
  const auto found = sender.announcements.find(uint64_t{plan.datagrams()[0].header.reply_port} - 1);
  if (found == sender.announcements.end()) return std::nullopt;
  return found->second;
}

// SHM-10: its announcement failed. Its id may be announced again.
void Play::Lost(Sender& sender, uint32_t segment) {
  sender.segments = std::min(sender.segments, segment);
  sender.segment_used = kPlaySegmentBytes;
  sender.lost.insert(segment);
  reached_.insert("an announcement failed");
}

bool Play::Wrote(uint8_t index, const WriteRequest& request, Done done) {
  Sender& sender = senders_[index];
  if (done.accepted && request.batch) sender.batched = true;
  if (done.accepted && done.flush) FlushQueue(index);
  const auto& messages = sender.laws.messages();
  const auto written = messages.find(request.message_id);
  return done.accepted && written != messages.end() && !written->second.withdrawn;
}

// ------------------------------------------------------- the shell's actions

// The machine and the naive queue do the same, and the laws hold of it. One that cannot copy a
// descriptor takes the write back.
template <typename Event>
Play::Done Play::Do(Sender& sender, const Event& event, const SendActions& expected) {
  SendActions actions;
  const SendMachine before = sender.machine;
  Step(sender.machine, event, actions);
  if (actions != expected) {
    std::string text = "does";
    for (const SendAction& action : actions) text += " [" + ToString(action) + "]";
    text += ", the model";
    for (const SendAction& action : expected) text += " [" + ToString(action) + "]";
    Find(Law::kModel, Rule::kSnd7, text);
  }
  const auto [request, announces] = std::exchange(writing_, {});
  if (request != nullptr) sender.laws.Wrote(*request, announces, actions);
  Done done;
  const bool refused =
      request != nullptr && !actions.empty() && actions.back().kind == SendAction::Kind::kRefuse;
  if (refused && sender.machine != before) {
    Find(Law::kBounds, Rule::kSnd12, "a refused write changes the machine");
  }
  for (size_t i = 0; i < actions.size(); ++i) {
    const SendAction& action = actions[i];
    Tell("    " + ToString(action));
    if (CannotCopy(sender, actions, i)) {
      SendActions instead;
      sender.model.NotDuplicated(action.fd, instead);
      sender.laws.Withdrew(sender.laws.messages().rbegin()->first);
      reached_.insert("a write taken back");
      return Do(sender, NotDuplicated{action.fd}, instead);
    }
    if (!refused) sender.laws.Did(action);
    if (action.kind == SendAction::Kind::kRefuse) done.accepted = false;
    if (action.kind == SendAction::Kind::kFlush) done.flush = true;
    if (action.kind == SendAction::Kind::kForget) Lost(sender, action.segment_id);
    if (action.kind == SendAction::Kind::kHandOver) reached_.insert("chunks handed over");
    if (action.kind == SendAction::Kind::kTakeBack) reached_.insert("chunks taken back");
    if (action.kind == SendAction::Kind::kRefuse && action.answer == WriteAnswer::kNoSegment) {
      reached_.insert("what names a lost segment is refused");
    }
  }
  return done;
}

// The first, or the last copy of a message fails.
bool Play::CannotCopy(Sender& sender, const SendActions& actions, size_t i) {
  const auto copies = [&](size_t at) {
    return at < actions.size() && actions[at].kind == SendAction::Kind::kDuplicateFd;
  };
  if (!sender.no_descriptors || !copies(i)) return false;
  const bool first = actions[i].fd % 4 < 2;
  if (!first && copies(i + 1)) return false;
  sender.no_descriptors = false;
  return true;
}

// ----------------------------------------------------------- the shell's loop

void Play::FlushQueue(uint8_t index) {
  Sender& sender = senders_[index];
  sender.batched = false;
  for (int turns = 0; turns < 10000; ++turns) {
    sender.machine.Plan(*plan_);
    ComparePlan(sender, *plan_);
    if (plan_->datagrams().empty()) return;
    SendActions expected;
    for (const NaiveDatagram& datagram : sender.planned) {
      sender.model.Name(datagram, SendAction::Kind::kHandOver, expected);
    }
    Do(sender, Sending{*plan_}, expected);
    const KernelAnswer answer = Send(index, *plan_);
    Conclude(index, answer);
    const bool goes_on =
        !answer.refusal || (*answer.refusal == Answer::kMessageError && sender.machine.open());
    if (!goes_on) return;
    if (answer.taken < plan_->datagrams().size()) reached_.insert("k of n");
    if (findings_.size() > 50) return;
  }
  Find(Law::kLiveness, Rule::kSnd7, "a flush that never ends");
}

void Play::NoteRefusal(uint8_t index, Answer answer) {
  Sender& sender = senders_[index];
  Tell(absl::StrCat("    the kernel refuses sender ", index, " (", static_cast<int>(answer), ")"));
  for (const auto& [id, message] : sender.laws.messages()) {
    if (answer == Answer::kWouldBlock && message.begun && !message.finished && !message.failed) {
      reached_.insert("EAGAIN mid-message");
    }
  }
  for (Recipient* const recipient : recipients_) {
    recipient->Refused(PlayPid(index), ErrorName(answer));
  }
}

void Play::Conclude(uint8_t index, const KernelAnswer& answer) {
  Sender& sender = senders_[index];
  SendActions expected;
  // A model that has less than was planned was found to differ.
  for (size_t i = 0; i < answer.taken && sender.model.Next(); ++i) sender.model.Sent(expected);
  for (size_t i = answer.taken; i < sender.planned.size(); ++i) {
    sender.model.Name(sender.planned[i], SendAction::Kind::kTakeBack, expected);
  }
  Sent sent{*plan_, answer.taken};
  if (answer.refusal) NoteRefusal(index, *answer.refusal);
  switch (answer.refusal.value_or(Answer::kPartial)) {
    case Answer::kPartial:
    case Answer::kNoDescriptors:
      break;
    case Answer::kWouldBlock:
      sent.answer = SendAnswer::kWouldBlock;
      sender.model.WouldBlock(expected);
      break;
    case Answer::kBusy:
      sent.answer = SendAnswer::kBusy;
      sender.model.Busy(expected);
      reached_.insert("busy");
      break;
    case Answer::kMessageError:
      sent.answer = SendAnswer::kMessageError;
      if (sender.model.Next()) sender.model.MessageError(expected);
      reached_.insert("message error");
      break;
    case Answer::kPortError:
      sent.answer = SendAnswer::kPortError;
      sender.model.Fail(WriteAnswer::kFailed, expected);
      reached_.insert("port error");
      break;
  }
  const size_t failed = std::count_if(expected.begin(), expected.end(), [](const SendAction& a) {
    return a.kind == SendAction::Kind::kComplete && !a.ok;
  });
  const bool lost = std::any_of(expected.begin(), expected.end(), [](const SendAction& a) {
    return a.kind == SendAction::Kind::kForget;
  });
  if (lost && failed > 1) reached_.insert("what names a lost segment");
  Do(sender, sent, expected);
}

// The plan is a prefix of what the model would send, and as long as it may be.
void Play::ComparePlan(Sender& sender, const SendPlan& plan) {
  NaiveQueue model = sender.model;
  sender.planned.clear();
  size_t count = 0;
  bool rotated = false;
  for (const PlannedDatagram& datagram : plan.datagrams()) {
    const std::optional<NaiveDatagram> wanted = model.Next();
    NaiveDatagram got;
    got.stream = datagram.header.stream;
    got.reply_port = datagram.header.reply_port;
    got.type = datagram.header.type;
    got.last = datagram.header.last;
    got.mmap = datagram.header.mmap;
    got.nf = datagram.header.nf;
    got.mf = datagram.header.mf;
    got.wire_bytes = static_cast<uint32_t>(kHeaderBytes) + datagram.payload_bytes;
    got.runs = datagram.run_count;
    for (const ByteRun& run : plan.RunsOf(datagram)) {
      for (uint64_t i = 0; i < run.bytes; ++i) got.bytes.push_back(run.place + i);
    }
    for (size_t i = 0; i < datagram.fd_count; ++i) got.fds.push_back(datagram.fds[i]);
    if (!wanted || rotated || got != *wanted) {
      Find(Law::kModel, Rule::kSnd6,
           "plans " + ToString(got) + ", the model " +
               (wanted && !rotated ? ToString(*wanted) : std::string("nothing more")));
      return;
    }
    sender.planned.push_back(*wanted);
    SendActions ignored;
    rotated = model.Sent(ignored);
    ++count;
  }
  if (!rotated && count < kPlanDatagramsMax && model.Next()) {
    Find(Law::kModel, Rule::kSnd7, "plans less than it could");
  }
}

// ------------------------------------------------------------ other actions

void Play::Act(const conversation::Flush& flush) {
  const auto index = static_cast<uint8_t>(flush.sender % setup_.senders);
  Sender& sender = senders_[index];
  if (sender.dead || !sender.batched) return;
  sender.batched = false;
  if (!sender.machine.waiting()) FlushQueue(index);
}

void Play::Act(const conversation::Turn& turn) {
  const auto index = static_cast<uint8_t>(turn.sender % setup_.senders);
  Sender& sender = senders_[index];
  if (sender.dead) return;
  SendActions expected;
  Done done;
  if (sender.laws.retry_asked()) {
    sender.laws.RetryCame();
    sender.model.Retry(expected);
    done = Do(sender, RetryDue(), expected);
  } else if (sender.laws.armed() && HasRoom()) {
    sender.model.Writable(expected);
    done = Do(sender, BecameWritable(), expected);
  }
  if (done.flush) FlushQueue(index);
}

void Play::Act(const conversation::Receive& receive) {
  for (int i = 0; i < receive.count && !socket_.empty(); ++i) ReadOne();
}

void Play::Act(const conversation::Script& script) {
  Sender& sender = senders_[script.sender % setup_.senders];
  if (script.answer == Answer::kNoDescriptors) {
    sender.no_descriptors = true;
  } else {
    sender.script = script;
  }
}

void Play::Act(const conversation::HangUp&) {
  if (hung_up_) return;
  hung_up_ = true;
  socket_.clear();
  for (Recipient* const recipient : recipients_) recipient->HungUp();
}

void Play::Act(const conversation::Die& die) {
  const auto index = static_cast<uint8_t>(die.sender % setup_.senders);
  if (senders_[index].dead) return;
  senders_[index].dead = true;
  reached_.insert("a death");
  const bool more = std::any_of(socket_.begin(), socket_.end(),
                                [index](const WireDatagram& d) { return d.sender == index; });
  for (Recipient* const recipient : recipients_) {
    recipient->Died(PlayPid(index));
    if (!more) recipient->AllOfDeadRead(PlayPid(index));
  }
}

void Play::Act(const conversation::Close& close) {
  Sender& sender = senders_[close.sender % setup_.senders];
  if (sender.dead) return;
  SendActions expected;
  sender.model.Fail(WriteAnswer::kClosed, expected);
  Do(sender, SenderClosed(), expected);
  reached_.insert("closed with work queued");
  for (Recipient* const recipient : recipients_) {
    recipient->Closed(PlayPid(static_cast<uint8_t>(close.sender % setup_.senders)));
  }
}

void Play::Drain() {
  Tell("the kernel takes everything, the receiver reads everything");
  for (Sender& sender : senders_) sender.script.reset();
  bool going = true;
  for (int rounds = 0; going && rounds < 1000 && findings_.size() < 50; ++rounds) {
    while (!socket_.empty()) ReadOne();
    for (uint8_t i = 0; i < setup_.senders; ++i) {
      Act(conversation::Flush{i});
      Act(conversation::Turn{i});
    }
    Settle();
    going = !socket_.empty();
    for (Sender& sender : senders_) {
      going |= !sender.dead && (sender.laws.armed() || sender.laws.retry_asked());
    }
  }
  for (Sender& sender : senders_) {
    if (sender.dead) continue;
    sender.laws.Drained();
    if (!sender.machine.empty()) Find(Law::kLiveness, Rule::kSnd7, "not empty when all was taken");
  }
  for (Recipient* const recipient : recipients_) recipient->Ended(findings_);
}

BrokenLaws PlayWhole(const conversation::Conversation& conversation,
                     std::set<std::string>* reached) {
  Play play(conversation.setup);
  for (const conversation::Action& action : conversation.actions) {
    play.Perform(action);
    if (!play.findings().empty()) break;  // what follows from a finding is not another
  }
  if (play.findings().empty()) play.Drain();
  if (reached != nullptr) *reached = play.reached();
  return play.findings();
}

}  // namespace portproof
