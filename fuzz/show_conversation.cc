// Prints a conversation as a story, and what happens when it is played: from end to end, or
// to a process with receive ports, or both where it has actions of both.
//   show_conversation INPUT      a file of the fuzzer's, or the hexadecimal digits of one
// Exit status: 0 if every law held, 1 if one was broken, 2 for wrong usage.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "oracle/conversation/action.h"
#include "props/play_receiver.h"
#include "props/receive_play.h"

using namespace portproof;

namespace {

void Narrate(const std::string& text) { std::printf("%s\n", text.c_str()); }

bool ShowEndToEnd(const conversation::Conversation& conversation) {
  Narrate(conversation::ToString(conversation.setup));
  const BrokenLaws findings = PlayEndToEnd(conversation, nullptr, Narrate);
  for (const BrokenLaw& finding : findings) Narrate("BROKEN " + ToString(finding));
  return findings.empty();
}

bool ShowReceivers(const conversation::Conversation& conversation) {
  const std::string difference = PlayReceivers(conversation, nullptr, Narrate);
  if (!difference.empty()) Narrate("DIFFERS " + difference);
  return difference.empty();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "show: one input, a file or hexadecimal digits\n");
    return 2;
  }
  const std::string input = argv[1];
  std::vector<uint8_t> bytes;
  if (std::ifstream file(input, std::ios::binary); file) {
    bytes.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  } else if (input.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos) {
    bytes = conversation::FromHex(input);
  } else {
    std::fprintf(stderr, "show: %s is neither a file nor hexadecimal digits\n", input.c_str());
    return 2;
  }
  const conversation::Conversation conversation = conversation::Decode(bytes);
  const auto of_receivers = [](const conversation::Action& action) {
    return action.index() >= conversation::kFirstOfReceivers;
  };
  const auto& actions = conversation.actions;
  bool held = true;
  if (std::any_of(actions.begin(), actions.end(), of_receivers))
    held &= ShowReceivers(conversation);
  if (!std::all_of(actions.begin(), actions.end(), of_receivers) || actions.empty()) {
    held &= ShowEndToEnd(conversation);
  }
  std::printf("replay: fuzz/show %s\n", conversation::ToHex(Encode(conversation)).c_str());
  return held ? 0 : 1;
}
