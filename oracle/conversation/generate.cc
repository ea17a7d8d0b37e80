#include "oracle/conversation/generate.h"

#include <algorithm>
#include <iterator>

namespace portproof::conversation {
namespace {

BufferSpec GenerateBuffer(Dice& dice, bool shared) {
  BufferSpec spec;
  const uint32_t shape = dice.Below(16);
  if (shape == 0) {
    spec.shape = Shape::kEmpty;
  } else if (shape <= 2) {
    spec.shape = Shape::kSync;
    spec.marked = dice.OneIn(2);
  } else if (shared) {
    spec.shape = dice.OneIn(24) ? Shape::kPlain : Shape::kShared;
    spec.marked = dice.OneIn(24);
  }
  spec.adjacent = dice.OneIn(2);
  const uint32_t size = dice.Below(8);
  if (size < 5) {
    spec.offset = static_cast<int16_t>(1 + dice.Below(size < 3 ? 12 : 80));
  } else {
    spec.limits = static_cast<uint8_t>(1 + dice.Below(size == 7 ? 3 : 1));
    spec.offset = static_cast<int16_t>(static_cast<int>(dice.Below(3)) - 1);  // around the limit
  }
  return spec;
}

Write GenerateWrite(Dice& dice, uint8_t senders) {
  Write write;
  write.sender = static_cast<uint8_t>(dice.Below(senders));
  write.writer = static_cast<uint8_t>(dice.Below(kWritersMax));
  write.stream = static_cast<uint8_t>(dice.Below(kStreamsMax));
  write.type = static_cast<uint8_t>(dice.Below(kTypesMax));
  if (dice.OneIn(3)) write.fds = static_cast<uint8_t>(1 + dice.Below(2));
  write.close_fds = dice.OneIn(2);
  write.last = dice.OneIn(4);
  write.batch = dice.OneIn(5);
  // Short chains mostly; sometimes more separate buffers than a datagram has iovecs.
  const uint32_t kind = dice.Below(8);
  const size_t length = kind == 0 ? 6 + dice.Below(18) : dice.Below(5);
  const bool shared = dice.OneIn(4);
  for (size_t i = 0; i < length; ++i) write.chain.push_back(GenerateBuffer(dice, shared));
  return write;
}

Script GenerateScript(Dice& dice, uint8_t senders, Mix mix) {
  Script script;
  script.sender = static_cast<uint8_t>(dice.Below(senders));
  script.taken = static_cast<uint8_t>(dice.Below(dice.OneIn(4) ? 16 : 4));
  const uint32_t answer = dice.Below(mix.failures ? 12 : 10);
  script.answer = answer < 5    ? Answer::kWouldBlock
                  : answer < 7  ? Answer::kPartial
                  : answer < 9  ? Answer::kBusy
                  : answer < 10 ? Answer::kNoDescriptors
                  : answer < 11 ? Answer::kMessageError
                                : Answer::kPortError;
  return script;
}

// Few senders, streams and segments, one of each preferred: so datagrams meet.
uint8_t OftenZero(Dice& dice, uint8_t bound) {
  return static_cast<uint8_t>(dice.OneIn(2) ? 0 : dice.Below(bound));
}

Arrive GenerateArrive(Dice& dice, uint8_t senders) {
  Arrive arrive;
  arrive.sender = static_cast<uint8_t>(dice.Below(senders));
  arrive.port = OftenZero(dice, kPortsMax);
  arrive.stream = OftenZero(dice, kStreamsMax);
  arrive.type = static_cast<uint8_t>(dice.OneIn(8) ? dice.Below(8) : dice.OneIn(16) ? 1 : 0);
  if (dice.OneIn(6)) arrive.fds = static_cast<uint8_t>(dice.Below(4));
  if (dice.OneIn(8)) arrive.credentials = static_cast<uint8_t>(dice.Below(4));
  if (dice.OneIn(16)) arrive.trouble = static_cast<Trouble>(dice.Below(kTroublesMax));
  arrive.nf = dice.OneIn(2);
  arrive.mf = dice.OneIn(2);
  arrive.last = dice.OneIn(4);
  arrive.other_reply = dice.OneIn(12);
  arrive.mmap = dice.OneIn(3);
  arrive.tracked = dice.OneIn(3);
  arrive.fresh = !dice.OneIn(8);
  arrive.bytes = static_cast<uint8_t>(dice.OneIn(6) ? dice.Below(256) : dice.Below(50));
  if (dice.OneIn(10)) arrive.bytes = arrive.mmap ? 255 : 0;
  arrive.references = static_cast<uint8_t>(1 + dice.Below(dice.OneIn(2) ? 4 : 1));
  for (uint8_t& id : arrive.ids) id = OftenZero(dice, dice.OneIn(20) ? kIdsMax : kIdsMax - 1);
  arrive.chunk = static_cast<uint8_t>(dice.OneIn(12) ? dice.Below(256) : dice.Below(56));
  return arrive;
}

Action GenerateReceivers(Dice& dice, uint8_t senders) {
  const auto sender = static_cast<uint8_t>(dice.Below(senders));
  const uint8_t port = OftenZero(dice, kPortsMax);
  const auto id = static_cast<uint8_t>(dice.Below(kIdsMax - 1));
  const uint32_t kind = dice.Below(40);
  if (kind < 24) return GenerateArrive(dice, senders);
  if (kind < 28) {
    const File file = dice.OneIn(4) ? static_cast<File>(dice.Below(kFilesMax)) : File::kGood;
    return Announce{sender, port, id, file};
  }
  if (kind < 34) return GoOn{};
  if (kind < 37) return Release{static_cast<uint8_t>(dice.Below(8))};
  if (kind < 38) return Tamper{sender, id, static_cast<uint8_t>(dice.Below(64)), dice.OneIn(8)};
  if (dice.OneIn(3)) return Reopen{port};
  return Forget{sender, port};
}

Action GenerateAction(Dice& dice, uint8_t senders, Mix mix) {
  if (mix.receivers) return GenerateReceivers(dice, senders);
  const auto sender = static_cast<uint8_t>(dice.Below(senders));
  const uint32_t kind = dice.Below(40);
  if (kind < 16) return GenerateWrite(dice, senders);
  if (kind < 22) return GenerateScript(dice, senders, mix);
  if (kind < 24) return Flush{sender};
  if (kind < 30) return Turn{sender};
  if (kind < 39 || !mix.failures) return Receive{static_cast<uint8_t>(1 + dice.Below(8))};
  if (dice.OneIn(8)) return HangUp{};
  if (dice.OneIn(2)) return Die{sender};
  return Close{sender};
}

Setup GenerateSetup(Dice& dice) {
  Setup setup;
  setup.senders = static_cast<uint8_t>(dice.OneIn(2) ? 1 : 1 + dice.Below(kSendersMax));
  setup.payload_extra = static_cast<uint8_t>(dice.Below(64));
  setup.share = static_cast<uint8_t>(dice.Below(dice.OneIn(3) ? 256 : 40));
  setup.capacity = static_cast<uint8_t>(dice.OneIn(2) ? 15 : dice.Below(16));
  setup.messages = static_cast<uint8_t>(dice.OneIn(4) ? dice.Below(16) : 15);
  setup.limits = static_cast<uint8_t>(dice.OneIn(4) ? dice.Below(32) : 31);
  setup.fds = static_cast<uint8_t>(dice.OneIn(4) ? dice.Below(8) : 7);
  setup.stream_keyed = dice.OneIn(4);
  return setup;
}

std::vector<Action> SimplerArrivals(const Arrive& arrive) {
  std::vector<Action> simpler;
  const auto add = [&](auto change) {
    Arrive copy = arrive;
    change(copy);
    if (copy != arrive) simpler.push_back(copy);
  };
  add([](Arrive& a) { a.trouble = Trouble::kNone; });
  add([](Arrive& a) { a.fds = 0; });
  add([](Arrive& a) { a.mmap = a.tracked = a.fresh = false; });
  add([](Arrive& a) { a.tracked = false; });
  add([](Arrive& a) { a.references = 1; });
  add([](Arrive& a) { a.nf = a.mf = false; });
  add([](Arrive& a) { a.last = a.other_reply = false; });
  add([](Arrive& a) { a.credentials = a.type = 0; });
  add([](Arrive& a) { a.bytes = a.bytes > 1 ? 1 : a.bytes; });
  add([](Arrive& a) { a.chunk = a.chunk > 0 ? a.chunk / 2 : 0; });
  add([](Arrive& a) { a.ids[0] = a.ids[1] = 0; });
  add([](Arrive& a) { a.port = a.stream = 0; });
  add([](Arrive& a) { a.sender = 0; });
  return simpler;
}

// The shrinks of one action: each simpler in one respect.
std::vector<Action> SimplerWrites(const Write& write) {
  std::vector<Action> simpler;
  const auto add = [&](auto change) {
    Write copy = write;
    change(copy);
    if (copy != write) simpler.push_back(copy);
  };
  add([](Write& w) { w.chain.clear(); });
  add([](Write& w) { w.chain.resize(w.chain.size() / 2); });
  for (size_t i = 0; i < write.chain.size(); ++i) {
    add([i](Write& w) { w.chain.erase(w.chain.begin() + static_cast<std::ptrdiff_t>(i)); });
    add([i](Write& w) { w.chain[i] = BufferSpec{}; });
    add([i](Write& w) { w.chain[i].adjacent = false; });
    add([i](Write& w) { w.chain[i].offset = w.chain[i].limits == 0 ? 1 : 0; });
    add([i](Write& w) { w.chain[i].limits = w.chain[i].limits > 1 ? 1 : w.chain[i].limits; });
  }
  add([](Write& w) { w.fds = 0; });
  add([](Write& w) { w.close_fds = w.last = w.batch = false; });
  add([](Write& w) { w.batch = false; });
  add([](Write& w) { w.last = false; });
  add([](Write& w) { w.writer = w.type = 0; });
  add([](Write& w) { w.stream = 0; });
  add([](Write& w) { w.sender = 0; });
  return simpler;
}

void AddSimplerActions(const Conversation& conversation, std::vector<Conversation>& simpler) {
  for (size_t i = 0; i < conversation.actions.size(); ++i) {
    const auto add = [&](Action action) {
      simpler.push_back(conversation);
      simpler.back().actions[i] = std::move(action);
    };
    if (const Write* const write = std::get_if<Write>(&conversation.actions[i])) {
      for (Action& action : SimplerWrites(*write)) add(std::move(action));
    } else if (const Arrive* const arrive = std::get_if<Arrive>(&conversation.actions[i])) {
      for (Action& action : SimplerArrivals(*arrive)) add(std::move(action));
    } else if (const Announce* const announce = std::get_if<Announce>(&conversation.actions[i])) {
      if (announce->file != File::kGood) {
        add(Announce{announce->sender, announce->port, announce->id, File::kGood});
      }
    } else if (const Script* const script = std::get_if<Script>(&conversation.actions[i])) {
      if (script->taken > 0) add(Script{script->sender, 0, script->answer});
      if (script->taken > 1) {
        add(Script{script->sender, static_cast<uint8_t>(script->taken - 1), script->answer});
      }
    } else if (const Receive* const receive = std::get_if<Receive>(&conversation.actions[i])) {
      if (receive->count > 1) add(Receive{1});
    }
  }
}

void AddSimplerSetups(const Conversation& conversation, std::vector<Conversation>& simpler) {
  const auto add = [&](auto change) {
    Conversation copy = conversation;
    change(copy.setup);
    if (copy != conversation) simpler.push_back(std::move(copy));
  };
  add([](Setup& s) { s.senders = 1; });
  add([](Setup& s) { s.payload_extra = 0; });
  add([](Setup& s) { s.messages = 15, s.limits = 31, s.fds = 7; });
  add([](Setup& s) { s.capacity = 15; });
  add([](Setup& s) { s.stream_keyed = false; });
}

void MutateOne(Dice& dice, Conversation& conversation, Mix mix) {
  std::vector<Action>& actions = conversation.actions;
  const uint8_t senders = conversation.setup.senders;
  const auto any = [&] {
    return actions.begin() +
           static_cast<std::ptrdiff_t>(dice.Below(static_cast<uint32_t>(actions.size())));
  };
  switch (actions.empty() ? 0 : dice.Below(8)) {
    case 0:
      actions.insert(actions.empty() ? actions.end() : any(), GenerateAction(dice, senders, mix));
      break;
    case 1:
      actions.push_back(GenerateAction(dice, senders, mix));
      break;
    case 2:
      actions.erase(any());
      break;
    case 3: {
      const Action copy = *any();
      actions.insert(any(), copy);
      break;
    }
    case 4:
      std::iter_swap(any(), any());
      break;
    case 5:
      *any() = GenerateAction(dice, senders, mix);
      break;
    case 6: {
      if (Write* const write = std::get_if<Write>(&*any()); write != nullptr) {
        write->chain.push_back(GenerateBuffer(dice, dice.OneIn(3)));
      }
      break;
    }
    case 7: {  // a byte of the encoding: reaches every field
      std::vector<uint8_t> bytes = Encode(conversation);
      bytes[dice.Below(static_cast<uint32_t>(bytes.size()))] = static_cast<uint8_t>(dice.Next());
      conversation = Decode(bytes);
      break;
    }
  }
}

}  // namespace

uint64_t Dice::Next() {  // splitmix64
  state_ += 0x9e3779b97f4a7c15;
  uint64_t z = state_;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

Conversation Generate(Dice& dice, size_t size, Mix mix) {
  Conversation conversation;
  conversation.setup = GenerateSetup(dice);
  const size_t count = std::min(kActionsMax, 1 + size / 2 + dice.Below(1 + size));
  for (size_t i = 0; i < count; ++i) {
    conversation.actions.push_back(GenerateAction(dice, conversation.setup.senders, mix));
  }
  Normalize(conversation);
  return conversation;
}

void Mutate(Dice& dice, Conversation& conversation, Mix mix) {
  const uint32_t times = 1 + dice.Below(4);
  for (uint32_t i = 0; i < times; ++i) MutateOne(dice, conversation, mix);
  Normalize(conversation);
}

Conversation Splice(Dice& dice, const Conversation& a, const Conversation& b) {
  Conversation spliced;
  spliced.setup = dice.OneIn(2) ? a.setup : b.setup;
  const size_t head = dice.Below(static_cast<uint32_t>(a.actions.size() + 1));
  const size_t tail = dice.Below(static_cast<uint32_t>(b.actions.size() + 1));
  spliced.actions.assign(a.actions.begin(), a.actions.begin() + static_cast<std::ptrdiff_t>(head));
  spliced.actions.insert(spliced.actions.end(),
                         b.actions.begin() + static_cast<std::ptrdiff_t>(tail), b.actions.end());
  Normalize(spliced);
  return spliced;
}

std::vector<Conversation> Shrinks(const Conversation& conversation) {
  std::vector<Conversation> simpler;
  const size_t count = conversation.actions.size();
  for (size_t length = count; length > 0; length /= 2) {
    for (size_t begin = 0; begin < count; begin += length) {
      const size_t end = std::min(count, begin + length);
      Conversation copy = conversation;
      copy.actions.erase(copy.actions.begin() + static_cast<std::ptrdiff_t>(begin),
                         copy.actions.begin() + static_cast<std::ptrdiff_t>(end));
      simpler.push_back(std::move(copy));
    }
  }
  AddSimplerSetups(conversation, simpler);
  AddSimplerActions(conversation, simpler);
  return simpler;
}

Conversation Minimize(Conversation conversation,
                      const std::function<bool(const Conversation&)>& fails) {
  for (;;) {
    const std::vector<Conversation> simpler = Shrinks(conversation);
    const auto found = std::find_if(simpler.begin(), simpler.end(), fails);
    if (found == simpler.end()) return conversation;
    conversation = *found;
  }
}

}  // namespace portproof::conversation
