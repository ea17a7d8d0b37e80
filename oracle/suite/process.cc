#include "oracle/suite/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "oracle/suite/patience.h"

namespace portproof::suite {
namespace {

constexpr int kFirstOfOurs = 16;  // above every number the child is given

struct Pipe {
  OwnedFd read;
  OwnedFd write;
};

absl::StatusOr<Pipe> MakePipe() {
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    return absl::ErrnoToStatus(errno, "cannot make a pipe for the testee");
  return Pipe{OwnedFd(ends[0]), OwnedFd(ends[1])};
}

OwnedFd Above(int fd) { return OwnedFd(fcntl(fd, F_DUPFD_CLOEXEC, kFirstOfOurs)); }

// Only what is safe between fork and exec in a process with threads.
void BecomeTestee(const std::array<int, 5>& fds, bool executes) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (int number = 1; number < NSIG; ++number) std::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int target = 0; target < 5; ++target) dup2(fds[static_cast<size_t>(target)], target);
  // What whoever started the runner left open is none of the testee's business.
  syscall(SYS_close_range, 5, ~0u, executes ? CLOSE_RANGE_CLOEXEC : 0u);
}

}  // namespace

absl::StatusOr<Process> Process::Launch(const std::vector<std::string>* argv,
                                        const std::function<int()>* body, int fd3, int fd4) {
  auto in = MakePipe();
  auto out = MakePipe();
  auto err = MakePipe();
  auto why = MakePipe();
  for (const auto* made : {&in, &out, &err, &why}) {
    if (!made->ok()) return made->status();
  }
  const OwnedFd child_in = Above(in->read.get());
  const OwnedFd child_out = Above(out->write.get());
  const OwnedFd child_err = Above(err->write.get());
  const OwnedFd child_3 = Above(fd3);
  const OwnedFd child_4 = Above(fd4);
  const OwnedFd child_why = Above(why->write.get());
  why->write.Close();
  const std::array<int, 5> fds = {child_in.get(), child_out.get(), child_err.get(), child_3.get(),
                                  child_4.get()};
  std::vector<char*> arguments;
  if (argv != nullptr) {
    for (const std::string& argument : *argv)
      arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
  }
  const std::lock_guard<std::mutex> lock(ForkMutex());
  const pid_t pid = fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "cannot fork the testee");
  if (pid == 0) {
    BecomeTestee(fds, body == nullptr);
    if (body != nullptr) _exit((*body)());
    execvp(arguments[0], arguments.data());
    const int error = errno;
    [[maybe_unused]] const ssize_t told = write(child_why.get(), &error, sizeof(error));
    _exit(127);
  }
  setpgid(pid, pid);
  Process process;
  process.pid_ = pid;
  process.pidfd_ = OwnedFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  process.in_ = std::move(in->write);
  process.out_ = std::move(out->read);
  process.err_ = std::move(err->read);
  for (const int fd : {process.in(), process.out(), process.err()})
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  if (argv == nullptr) return process;
  // The write end in the child closes at exec; ours closes here.
  const_cast<OwnedFd&>(child_why).Close();
  int error = 0;
  if (read(why->read.get(), &error, sizeof(error)) == sizeof(error))
    return absl::NotFoundError(absl::StrCat("cannot run ", argv->front(), ": ", strerror(error)));
  return process;
}

absl::StatusOr<Process> Process::Start(const std::vector<std::string>& argv, int fd3, int fd4) {
  return Launch(&argv, nullptr, fd3, fd4);
}

absl::StatusOr<Process> Process::Fork(const std::function<int()>& body, int fd3, int fd4) {
  return Launch(nullptr, &body, fd3, fd4);
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      reaped_(other.reaped_),
      status_(other.status_),
      pidfd_(std::move(other.pidfd_)),
      in_(std::move(other.in_)),
      out_(std::move(other.out_)),
      err_(std::move(other.err_)) {}

Process::~Process() {
  if (pid_ < 0) return;
  std::vector<pid_t> descendants = ProcessTree(pid_);
  descendants.erase(descendants.begin());
  kill(-pid_, SIGKILL);
  for (const pid_t descendant : descendants) kill(descendant, SIGKILL);
  if (!reaped_) waitpid(pid_, &status_, 0);
  kill(-pid_, SIGKILL);  // what it forked meanwhile
  for (const pid_t descendant : descendants) waitpid(descendant, nullptr, 0);
}

bool Process::Ended(int wait_ms) {
  if (reaped_) return true;
  pollfd poller = {pidfd_.get(), POLLIN, 0};
  Patience patience(pid_, wait_ms);
  const auto ended = [&](int slice_ms) { return poll(&poller, 1, slice_ms) > 0; };
  while (!ended(wait_ms == 0 ? 0 : Patience::SliceMs()) && wait_ms > 0 && !patience.UsedUp()) {
  }
  if (waitpid(pid_, &status_, WNOHANG) == pid_) reaped_ = true;
  return reaped_;
}

std::string Process::ExitText() const {
  if (!reaped_) return "";
  if (WIFSIGNALED(status_)) {
    return absl::StrCat("killed by signal ", WTERMSIG(status_), " (", strsignal(WTERMSIG(status_)),
                        ")");
  }
  return absl::StrCat("exit status ", WEXITSTATUS(status_));
}

int Process::signal() const { return reaped_ && WIFSIGNALED(status_) ? WTERMSIG(status_) : 0; }

bool Process::exited_with(int status) const {
  return reaped_ && WIFEXITED(status_) && WEXITSTATUS(status_) == status;
}

std::mutex& ForkMutex() {
  static std::mutex mutex;
  return mutex;
}

void AdoptOrphans() { prctl(PR_SET_CHILD_SUBREAPER, 1); }

int ReapStrays() {
  int strays = 0;
  for (;;) {
    std::vector<pid_t> children = ProcessTree(getpid());
    children.erase(children.begin());
    if (children.empty()) return strays;
    for (const pid_t child : children) kill(child, SIGKILL);
    while (waitpid(-1, nullptr, 0) > 0) ++strays;
  }
}

}  // namespace portproof::suite
