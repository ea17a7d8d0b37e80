// Prints a conversation as a story, and what happens when it is played.
//   show_conversation INPUT      a file of the fuzzer's, or the hexadecimal digits of one
// Exit status: 0 if every law held, 1 if one was broken, 2 for wrong usage.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "oracle/conversation/action.h"
#include "props/play_receiver.h"

using namespace portproof;

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
  std::printf("%s\n", conversation::ToString(conversation.setup).c_str());
  const auto narrate = [](const std::string& text) { std::printf("%s\n", text.c_str()); };
  const BrokenLaws findings = PlayEndToEnd(conversation, nullptr, narrate);
  for (const BrokenLaw& finding : findings) std::printf("BROKEN %s\n", ToString(finding).c_str());
  std::printf("replay: fuzz/show %s\n", conversation::ToHex(Encode(conversation)).c_str());
  return findings.empty() ? 0 : 1;
}
