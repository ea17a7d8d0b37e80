// Runs a fuzz target over the files named on the command line, as libFuzzer
// would with -runs=0: what the corpus once found stays found under `bazel test`.
// With --seconds=N first, goes round them that long and prints the rate.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Input = std::vector<uint8_t>;

constexpr char kSeconds[] = "--seconds=";

bool Read(const char* name, Input& input) {
  std::ifstream file(name, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "replay: cannot read %s\n", name);
    return false;
  }
  input.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  return true;
}

void PrintRate(const std::vector<Input>& inputs, double seconds) {
  size_t bytes = 0;
  for (const Input& input : inputs) bytes += input.size();
  const auto begin = std::chrono::steady_clock::now();
  double elapsed = 0;
  size_t executions = 0;
  while (elapsed < seconds) {
    for (const Input& input : inputs) LLVMFuzzerTestOneInput(input.data(), input.size());
    executions += inputs.size();
    elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  std::printf("%.0f executions a second, %zu inputs of %.0f bytes in the mean\n",
              static_cast<double>(executions) / elapsed, inputs.size(),
              static_cast<double>(bytes) / static_cast<double>(inputs.size()));
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 0;
  std::vector<Input> inputs;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], kSeconds, std::strlen(kSeconds)) == 0) {
      seconds = std::atof(argv[i] + std::strlen(kSeconds));
      continue;
    }
    Input input;
    if (!Read(argv[i], input)) return 1;
    std::fprintf(stderr, "replay: %s (%zu bytes)\n", argv[i], input.size());
    LLVMFuzzerTestOneInput(input.data(), input.size());
    inputs.push_back(std::move(input));
  }
  if (inputs.empty()) {
    std::fprintf(stderr, "replay: no input named\n");
    return 1;
  }
  if (seconds > 0) PrintRate(inputs, seconds);
  std::printf("replayed %zu inputs\n", inputs.size());
  return 0;
}
