// The golden vectors, as the files of this directory hold them.
//   shapes    VectorFile: a file's name ("header.json") and its whole text
//   returns   VectorFiles: every file, in the order of their names
//   holds     nothing; the texts are constants of the program
//   rules     each vector names its own
//   source    written by hand from the specification
#ifndef PORTPROOF_TESTDATA_VECTORS_VECTORS_H_
#define PORTPROOF_TESTDATA_VECTORS_VECTORS_H_

#include <span>
#include <string_view>

namespace portproof {

struct VectorFile {
  std::string_view name;
  std::string_view text;
};

std::span<const VectorFile> VectorFiles();

}  // namespace portproof

#endif  // PORTPROOF_TESTDATA_VECTORS_VECTORS_H_
