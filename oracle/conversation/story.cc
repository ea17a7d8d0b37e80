// The printer of action.h: conversations for readers.
#include "absl/strings/str_cat.h"
#include "oracle/conversation/action.h"

namespace portproof::conversation {
namespace {

std::string Size(const BufferSpec& spec) {
  if (spec.limits == 0) return absl::StrCat(spec.offset);
  std::string text = spec.limits == 1 ? "L" : absl::StrCat(spec.limits, "L");
  if (spec.offset > 0) absl::StrAppend(&text, "+", spec.offset);
  if (spec.offset < 0) absl::StrAppend(&text, spec.offset);
  return text;
}

std::string Text(const BufferSpec& spec) {
  const char* const glue = spec.adjacent ? "~" : "";
  switch (spec.shape) {
    case Shape::kPlain:
      return absl::StrCat("[", glue, Size(spec), "]");
    case Shape::kShared:
      return absl::StrCat("[", glue, "shared ", Size(spec), spec.marked ? " crooked" : "", "]");
    case Shape::kSync:
      return spec.marked ? "[sync last]" : "[sync]";
    case Shape::kEmpty:
      return "[empty]";
  }
  return {};
}

std::string Text(Answer answer) {
  switch (answer) {
    case Answer::kPartial:
      return "stops there";
    case Answer::kWouldBlock:
      return "would block";
    case Answer::kBusy:
      return "is busy";
    case Answer::kMessageError:
      return "refuses the message";
    case Answer::kPortError:
      return "fails the port";
    case Answer::kNoDescriptors:
      return "has no descriptor for a copy";
  }
  return {};
}

std::string Text(const Write& write) {
  std::string text = absl::StrCat("sender ", write.sender, " writer ", write.writer,
                                  " writes on stream ", write.stream, " type ", write.type, ": ");
  if (write.chain.empty()) absl::StrAppend(&text, "nothing");
  for (const BufferSpec& spec : write.chain) absl::StrAppend(&text, Text(spec));
  if (write.fds != 0) absl::StrAppend(&text, ", fds ", write.fds);
  if (write.close_fds) absl::StrAppend(&text, ", CLOSE_FD");
  if (write.last) absl::StrAppend(&text, ", LAST");
  if (write.batch) absl::StrAppend(&text, ", batched");
  return text;
}
std::string Text(const Flush& flush) { return absl::StrCat("sender ", flush.sender, " flushes"); }
std::string Text(const Turn& turn) { return absl::StrCat("sender ", turn.sender, "'s loop turns"); }
std::string Text(const Receive& receive) {
  return absl::StrCat("the receiver reads ", receive.count);
}
std::string Text(const Script& script) {
  return absl::StrCat("the kernel takes ", script.taken, " more of sender ", script.sender,
                      ", then ", Text(script.answer));
}
std::string Text(const HangUp&) { return "the receiver hangs up"; }
std::string Text(const Die& die) { return absl::StrCat("sender ", die.sender, " dies"); }
std::string Text(const Close& close) { return absl::StrCat("sender ", close.sender, " closes"); }

const char* Text(Trouble trouble) {
  switch (trouble) {
    case Trouble::kNone:
      return "";
    case Trouble::kFlagOfTwo:
      return ", flags of 2";
    case Trouble::kTwoRights:
      return ", two SCM_RIGHTS";
    case Trouble::kTruncated:
      return ", MSG_TRUNC";
    case Trouble::kControlTruncated:
      return ", MSG_CTRUNC";
    case Trouble::kShort:
      return ", cut short";
    case Trouble::kNoBytes:
      return ", no bytes";
    case Trouble::kHungUp:
      return ", the end of file";
  }
  return "";
}

const char* Text(File file) {
  switch (file) {
    case File::kGood:
      return "";
    case File::kWrongSize:
      return ", of another size";
    case File::kUnsealed:
      return ", not sealed";
    case File::kGuarded:
      return ", guarded";
    case File::kForeign:
      return ", another's";
    case File::kUnmappable:
      return ", which cannot be mapped";
    case File::kNone:
      return " without a descriptor";
    case File::kTwo:
      return " with two descriptors";
  }
  return "";
}

std::string Text(const Arrive& arrive) {
  static constexpr const char* kCredentials[] = {"", "", ", no credentials",
                                                 ", another's credentials"};
  std::string text = absl::StrCat("port ", arrive.port, ": from sender ", arrive.sender, " stream ",
                                  arrive.stream, " type ", arrive.type, arrive.nf ? " nf" : "",
                                  arrive.mf ? " mf" : "", arrive.last ? " last" : "");
  if (arrive.other_reply) absl::StrAppend(&text, " other reply port");
  if (arrive.mmap) {
    absl::StrAppend(&text, ", ", arrive.references, " references to segments ", arrive.ids[0],
                    " and ", arrive.ids[1], " from chunk ", arrive.chunk,
                    arrive.fresh ? " taken for it" : "");
  }
  absl::StrAppend(&text, arrive.tracked ? ", tracked" : "", ", ", arrive.bytes, " bytes");
  if (arrive.fds != 0) absl::StrAppend(&text, ", ", arrive.fds, " fds");
  return absl::StrCat(text, kCredentials[arrive.credentials % 4], Text(arrive.trouble));
}
std::string Text(const Announce& announce) {
  return absl::StrCat("port ", announce.port, ": sender ", announce.sender, " announces segment ",
                      announce.id, Text(announce.file));
}
std::string Text(const GoOn&) { return "a held datagram goes on"; }
std::string Text(const Release& release) {
  return absl::StrCat("the application releases reference ", release.which);
}
std::string Text(const Forget& forget) {
  return absl::StrCat("port ", forget.port, ": sender ", forget.sender, " is dead");
}
std::string Text(const Reopen& reopen) {
  return absl::StrCat("port ", reopen.port, " is closed, and opened again");
}
std::string Text(const Tamper& tamper) {
  if (tamper.spoils) {
    return absl::StrCat("a page of sender ", tamper.sender, "'s segment ", tamper.id, " goes");
  }
  return absl::StrCat("sender ", tamper.sender, " turns the bit of chunk ", tamper.chunk,
                      " of segment ", tamper.id);
}

}  // namespace

std::string ToString(const Setup& setup) {
  return absl::StrCat(setup.senders, " senders, L ", setup.payload_bytes(), ", SHARE ",
                      setup.share_bytes(), ", the socket holds ", setup.capacity_datagrams(),
                      "; queues hold ", setup.messages_max(), " messages, ", setup.bytes_max(),
                      " bytes, ", setup.fds_max(), " fds; assemblies keyed by ",
                      setup.stream_keyed ? "stream" : "sender and stream");
}

std::string ToString(const Action& action) {
  return std::visit([](const auto& value) { return Text(value); }, action);
}

std::string ToString(const Conversation& conversation) {
  std::string text = ToString(conversation.setup);
  for (size_t i = 0; i < conversation.actions.size(); ++i) {
    absl::StrAppend(&text, "\n", absl::Dec(i + 1, absl::kSpacePad3), "  ",
                    ToString(conversation.actions[i]));
  }
  return text;
}

}  // namespace portproof::conversation
