// What can be seen of a process from outside, whatever it says of itself.
//   shapes    a FileId is "st_dev:st_ino" in decimal, the way a testee writes it too
//   returns   OpenFiles: how often each file is open there; empty if it is gone
//   holds     nothing
//   rules     FDS-3, FDS-5, FRG-8, SND-8, SND-9 are judged with it
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_OBSERVER_H_
#define PORTPROOF_ORACLE_SUITE_OBSERVER_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

namespace portproof::suite {

using FileId = std::string;

FileId FileIdOf(int fd);

struct OpenFile {
  int count = 0;
  bool close_on_exec = true;  // all of them
};
// Without `flags`, close_on_exec is not looked up.
std::map<FileId, OpenFile> OpenFiles(pid_t pid, bool flags = false);
int LowestFreeFd(pid_t pid);
uint64_t ResidentBytes(pid_t pid);
std::string NameOfFile(pid_t pid, const FileId& file);  // "pipe:[123]"

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_OBSERVER_H_
