#include "oracle/suite/observer.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <set>

#include "absl/strings/str_cat.h"

namespace portproof::suite {
namespace {

constexpr uint64_t kCloseOnExec = 02000000;  // O_CLOEXEC, as fdinfo writes it

FileId IdOf(const struct stat& file) { return absl::StrCat(file.st_dev, ":", file.st_ino); }

void ForEachFd(pid_t pid, const std::function<void(int, const std::string&)>& visit) {
  const std::string directory = absl::StrCat("/proc/", pid, "/fd");
  DIR* const opened = opendir(directory.c_str());
  if (opened == nullptr) return;
  while (const dirent* const entry = readdir(opened)) {
    if (entry->d_name[0] == '.') continue;
    visit(std::atoi(entry->d_name), absl::StrCat(directory, "/", entry->d_name));
  }
  closedir(opened);
}

bool ClosesOnExec(pid_t pid, int fd) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/fdinfo/", fd));
  std::string key;
  while (file >> key) {
    std::string value;
    file >> value;
    if (key == "flags:") return (std::strtoull(value.c_str(), nullptr, 8) & kCloseOnExec) != 0;
  }
  return true;
}

}  // namespace

FileId FileIdOf(int fd) {
  struct stat file = {};
  return fstat(fd, &file) == 0 ? IdOf(file) : FileId();
}

std::map<FileId, OpenFile> OpenFiles(pid_t pid, bool flags) {
  std::map<FileId, OpenFile> files;
  ForEachFd(pid, [&](int fd, const std::string& path) {
    struct stat file = {};
    if (stat(path.c_str(), &file) != 0) return;
    OpenFile& open = files[IdOf(file)];
    ++open.count;
    if (flags) open.close_on_exec = open.close_on_exec && ClosesOnExec(pid, fd);
  });
  return files;
}

int LowestFreeFd(pid_t pid) {
  std::set<int> open;
  ForEachFd(pid, [&](int fd, const std::string&) { open.insert(fd); });
  int lowest = 0;
  while (open.contains(lowest)) ++lowest;
  return lowest;
}

uint64_t ResidentBytes(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/statm"));
  uint64_t size = 0;
  uint64_t resident = 0;
  file >> size >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

std::string NameOfFile(pid_t pid, const FileId& id) {
  std::string name = id;
  ForEachFd(pid, [&](int, const std::string& path) {
    struct stat file = {};
    if (stat(path.c_str(), &file) != 0 || IdOf(file) != id) return;
    std::array<char, 256> target = {};
    if (readlink(path.c_str(), target.data(), target.size() - 1) > 0)
      name = absl::StrCat(id, " (", target.data(), ")");
  });
  return name;
}

}  // namespace portproof::suite
