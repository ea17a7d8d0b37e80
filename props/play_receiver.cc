#include "props/play_receiver.h"

#include <algorithm>
#include <span>

#include "props/verdict.h"
#include "protocol/chunk.h"
#include "protocol/header.h"

namespace portproof {
namespace {

Port PortFor(const conversation::Setup& setup) {
  Port port = PortOf(PlayProfile(setup));
  port.max_size = setup.payload_bytes() + kHeaderBytes;
  return port;
}

// The segments of every Play.
constexpr Geometry kPlayGeometry = {1024, kPlayChunkBytes, kPlaySegmentBytes / kPlayChunkBytes};

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

PlayReceiver::PlayReceiver(const conversation::Setup& setup)
    : receiver_(PlayProfile(setup), PortFor(setup), 1, {.geometry = kPlayGeometry}),
      credentials_(PlayProfile(setup).credentials) {}

void PlayReceiver::Check(bool holds, Rule rule, uint64_t id, const char* sentence) {
  if (holds) return;
  findings_.push_back({Law::kArrival, rule, "message " + std::to_string(id) + ": " + sentence});
}

void PlayReceiver::Sent(const WireDatagram& datagram) {
  fds_sent_.insert(fds_sent_.end(), datagram.fds.begin(), datagram.fds.end());
  const auto decoded = DecodeHeader(Bytes(datagram.bytes), ByteOrder::kLittle);
  if (!decoded->header.mf) final_sent_[decoded->header.reply_port - 1u] = true;
}

void PlayReceiver::Arrived(const WireDatagram& datagram) {
  Wire wire;
  wire.bytes = datagram.bytes;
  wire.fds = datagram.fds;
  wire.rights_messages = datagram.fds.empty() ? 0 : 1;
  wire.credentials_pid = credentials_ ? datagram.pid : 0;
  const auto header = DecodeHeader(Bytes(datagram.bytes), ByteOrder::kLittle)->header;
  const auto& written = play_->laws(datagram.sender).messages();
  const auto found = written.find(header.reply_port - 1u);
  const bool announces = found != written.end() && found->second.announces != ~0u;
  if (announces) {
    wire.file = {.id = found->second.announces,
                 .source = datagram.pid,
                 .right_size = true,
                 .sealed = true,
                 .maps = true};
  }
  Outcome outcome;
  receiver_.Receive(0, wire, outcome);
  if (announces && outcome.refused.empty()) {  // the process itself takes it
    Delivered(datagram.sender, {.stream = header.stream,
                                .pid = header.pid,
                                .reply_port = header.reply_port,
                                .type = header.type,
                                .last = header.last,
                                .fds = datagram.fds});
  }
  if (!outcome.refused.empty()) {
    const auto decoded = DecodeHeader(Bytes(datagram.bytes), ByteOrder::kLittle);
    Check(false, *FindRule(outcome.refused), decoded->header.reply_port - 1u,
          "a datagram was refused");
  }
  for (const std::string_view rule : outcome.discarded) {
    Check(false, *FindRule(rule), 0, "an assembly was discarded");
  }
  Take(datagram.sender, outcome);
}

void PlayReceiver::AllOfDeadRead(int32_t pid) {
  Outcome outcome;
  receiver_.SenderDied(0, pid, outcome);
  Take(0, outcome);
}

void PlayReceiver::HungUp() {
  hung_up_ = true;
  Outcome outcome;
  receiver_.Close(0, outcome);
  Take(0, outcome);
}

void PlayReceiver::Take(uint8_t sender, const Outcome& outcome) {
  fds_ended_.insert(fds_ended_.end(), outcome.closed.begin(), outcome.closed.end());
  if (!outcome.delivered) return;
  const std::vector<int>& fds = outcome.message.fds;
  fds_ended_.insert(fds_ended_.end(), fds.begin(), fds.end());
  Delivered(sender, outcome.message);
}

void PlayReceiver::Delivered(uint8_t sender, const Message& message) {
  const uint64_t id = message.reply_port - 1u;
  const auto& written = play_->laws(sender).messages();
  const auto found = written.find(id);
  Check(found != written.end(), Rule::kFrg4, id, "was never written");
  if (found == written.end()) return;
  const SentMessage& sent = found->second;
  Check(delivered_.emplace(id, sender).second, Rule::kFrg4, id, "delivered twice");
  Check(message.stream == sent.request.stream && message.type == sent.request.type &&
            message.pid == PlayPid(sender),
        Rule::kFrg3, id, "another stream, type or pid than was written");
  bool last = sent.request.last;
  for (const Buffer& buffer : sent.chain) last |= buffer.last;
  Check(message.last == last, Rule::kIov6, id, "last is not what was written");
  std::vector<int> fds;
  for (size_t i = 0; i < sent.request.fd_count; ++i) {
    fds.push_back(static_cast<int>(sent.request.fds[i]));
  }
  Check(message.fds == fds, Rule::kFrg4, id, "other descriptors than were written");
  Check(Payload(sender, message) == Written(sender, sent), Rule::kIov1, id,
        "another payload than was written");
  uint64_t& latest = latest_[{sender, message.stream}];
  Check(sent.written_at > latest, Rule::kSnd6, id, "overtaken by a later one of its stream");
  latest = sent.written_at;
}

std::string PlayReceiver::Written(uint8_t sender, const SentMessage& message) const {
  std::string payload;
  for (const uint64_t address : message.addresses) {
    payload += static_cast<char>(ByteAt(sender, address));
  }
  return payload;
}

// The payload a handler sees: plain bytes as they are, references as what they refer to.
std::string PlayReceiver::Payload(uint8_t sender, const Message& message) const {
  std::string payload;
  size_t at = 0;
  while (at < message.payload.size()) {
    if (message.kinds[at] == 'p') {
      payload += message.payload[at++];
      continue;
    }
    if (message.payload.size() - at < kReferenceBytes) return "a reference cut short";
    const Reference reference =
        DecodeReference(std::span<const uint8_t, kReferenceBytes>(
                            Bytes(message.payload).subspan(at).data(), kReferenceBytes),
                        ByteOrder::kLittle);
    for (uint32_t i = 0; i < reference.bytes; ++i) {
      payload += static_cast<char>(ByteAt(
          sender,
          SegmentAddress(reference.segment_id, reference.first_chunk * kPlayChunkBytes + i)));
    }
    at += kReferenceBytes;
  }
  return payload;
}

void PlayReceiver::Ended(BrokenLaws& findings) {
  for (const auto& [id, whole] : final_sent_) {
    Check(hung_up_ || delivered_.contains(id), Rule::kFrg4, id, "left whole and never arrived");
  }
  for (const auto& [id, sender] : delivered_) {
    Check(final_sent_.contains(id), Rule::kFrg4, id, "arrived before it had left whole");
  }
  Outcome outcome;
  if (!hung_up_) receiver_.Close(0, outcome);
  Take(0, outcome);
  std::sort(fds_sent_.begin(), fds_sent_.end());
  std::sort(fds_ended_.begin(), fds_ended_.end());
  // What was in the socket when the receiver hung up, the kernel closes.
  const bool each_once =
      std::adjacent_find(fds_ended_.begin(), fds_ended_.end()) == fds_ended_.end();
  Check(each_once && (hung_up_ || fds_sent_ == fds_ended_), Rule::kFds5, 0,
        "a descriptor did not end in one place");
  findings.insert(findings.end(), findings_.begin(), findings_.end());
}

BrokenLaws PlayEndToEnd(const conversation::Conversation& conversation,
                        std::set<std::string>* reached,
                        const std::function<void(const std::string&)>& narrator) {
  PlayReceiver arrival(conversation.setup);
  Verdict verdict(conversation.setup);
  Play play(conversation.setup, {&arrival, &verdict});
  play.set_narrator(narrator);
  arrival.Watch(play);
  for (const conversation::Action& action : conversation.actions) {
    play.Perform(action);
    if (!play.findings().empty()) return play.findings();
  }
  play.Drain();
  if (reached != nullptr) {
    *reached = play.reached();
    if (arrival.delivered_count() > 0) reached->insert("delivered");
  }
  return play.findings();
}

}  // namespace portproof
