#include "oracle/suite/patience.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace portproof::suite {
namespace {

using std::chrono::milliseconds;

// Beyond it even a starved testee counts as hung.
constexpr int kWallTimes = 20;
constexpr auto kWallLeast = std::chrono::seconds(60);
constexpr size_t kTreeMax = 10000;

void AddChildren(pid_t pid, std::vector<pid_t>& found) {
  std::error_code error;
  const std::string tasks = absl::StrCat("/proc/", pid, "/task");
  for (std::filesystem::directory_iterator it(tasks, error), end; !error && it != end;
       it.increment(error)) {
    std::ifstream file(it->path() / "children");
    pid_t child = 0;
    while (file >> child) {
      found.push_back(child);
      if (found.size() < kTreeMax) AddChildren(child, found);
    }
  }
}

TaskTimes TimesOf(const std::filesystem::path& task) {
  TaskTimes times;
  std::ifstream(task / "schedstat") >> times.ran_ns >> times.waited_ns;
  std::string stat;
  std::getline(std::ifstream(task / "stat"), stat);
  const size_t name_end = stat.rfind(") ");  // the name may hold anything
  if (name_end != std::string::npos && name_end + 2 < stat.size()) times.state = stat[name_end + 2];
  return times;
}

}  // namespace

std::vector<pid_t> ProcessTree(pid_t pid) {
  std::vector<pid_t> tree = {pid};
  AddChildren(pid, tree);
  return tree;
}

Clock::duration Excused(const TaskTimes& before, const TaskTimes& now, Clock::duration between) {
  if (now.state == 'D') return between;
  // The kernel adds up a wait when it ends: who is runnable and has not run still waits.
  const bool starved = now.state == 'R' && now.ran_ns == before.ran_ns;
  if (starved) return between;
  const uint64_t waited = now.waited_ns - std::min(before.waited_ns, now.waited_ns);
  return std::min<Clock::duration>(between, std::chrono::nanoseconds(waited));
}

Patience::Patience(pid_t testee, int budget_ms)
    : testee_(testee), budget_(milliseconds(budget_ms)), begun_(Clock::now()), looked_(begun_) {}

std::map<pid_t, TaskTimes> Patience::Look() const {
  std::map<pid_t, TaskTimes> tasks;
  for (const pid_t pid : ProcessTree(testee_)) {
    std::error_code error;
    for (std::filesystem::directory_iterator it(absl::StrCat("/proc/", pid, "/task"), error), end;
         !error && it != end; it.increment(error))
      tasks[std::atoi(it->path().filename().c_str())] = TimesOf(it->path());
  }
  return tasks;
}

bool Patience::UsedUp() {
  const auto now = Clock::now();
  const Clock::duration between = now - looked_;
  if (between < milliseconds(SliceMs())) return false;
  std::map<pid_t, TaskTimes> tasks = Look();
  looked_ = Clock::now();
  // Who has nothing to compare with yet is charged with nothing.
  if (!first_) {
    // We asked to be woken after a slice: what is beyond it is our own delay.
    const Clock::duration slice = std::min<Clock::duration>(between, milliseconds(2 * SliceMs()));
    Clock::duration excused = {};
    for (const auto& [id, times] : tasks) {
      const auto before = tasks_.find(id);
      excused += Excused(before == tasks_.end() ? TaskTimes() : before->second, times, between);
    }
    spent_ += std::max(Clock::duration(), slice - excused);
  }
  first_ = false;
  tasks_ = std::move(tasks);
  const Clock::duration wall = std::max<Clock::duration>(kWallTimes * budget_, kWallLeast);
  return spent_ >= budget_ || now - begun_ >= wall;
}

}  // namespace portproof::suite
