/* The smallest testee worth having, in C: it receives whole messages and sends small
 * ones. It claims no feature, so the suite plays only what such a port must do.
 * oracle/suite/README.md walks through it. */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVE_FD = 3, SEND_FD = 4, HEADER = 16, DATA = 27, TYPES = 34, QUEUE = 64, RUNS = 7 };

/* The header of section 2, in the byte order of the machine. */
struct header {
  uint32_t stream;
  int32_t pid;
  uint16_t reply_port;
  uint8_t type, last, mmap, nf, mf, pad;
};

struct message {
  long long id;
  struct header header;
  int buffers; /* 0: one completion without a buffer */
  size_t bytes;
  unsigned char *payload;
};

static unsigned max_size;
static int my_pid, open_for_reading = 1, failed;
static struct message queue[QUEUE];
static int queued;
static char *events; /* the answer to the next `run` */
static size_t events_length, events_room;

static void say(const char *line) {
  puts(line);
  fflush(stdout);
}

static void add_event(const char *event) {
  size_t length = strlen(event);
  while (events_length + length + 2 > events_room)
    events = realloc(events, events_room = 2 * events_room + 4096);
  if (events_length > 0) events[events_length++] = ',';
  memcpy(events + events_length, event, length + 1);
  events_length += length;
}

/* ---- as much JSON as the commands need: flat objects, one array of flat objects ---- */

static const char *find(const char *object, const char *key) {
  char quoted[64];
  snprintf(quoted, sizeof(quoted), "\"%s\":", key);
  const char *found = strstr(object, quoted);
  return found ? found + strlen(quoted) : NULL;
}

static long long number(const char *object, const char *key) {
  const char *value = find(object, key);
  return value ? strtoll(value, NULL, 10) : 0;
}

static int truth(const char *object, const char *key) {
  const char *value = find(object, key);
  return value && strncmp(value, "true", 4) == 0;
}

/* ---- receiving ---- */

static uint32_t crc32(const unsigned char *bytes, size_t count) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < count; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

static void refuse(const char *rule) {
  char event[64];
  snprintf(event, sizeof(event), "{\"ev\":\"refused\",\"rule\":\"%s\"}", rule);
  add_event(event);
}

static void handle(const unsigned char *bytes, size_t count, int truncated) {
  struct header header;
  if (count < HEADER) return refuse("HDR-1");
  if (truncated || count > max_size + HEADER) return refuse("RCV-1");
  memcpy(&header, bytes, HEADER);
  if (header.type != DATA) return refuse("HDR-4");
  if (header.nf) return refuse("FRG-2"); /* it takes no fragments: FRG-10 */
  if (header.mf || header.mmap) return refuse("FRG-10");
  char event[256];
  snprintf(event, sizeof(event),
           "{\"ev\":\"delivered\",\"type\":%u,\"stream\":%u,\"pid\":%d,\"reply_port\":%u,"
           "\"last\":%s,\"bytes\":%zu,\"crc32\":\"%08x\",\"fds\":[]}",
           header.type, header.stream, header.pid, header.reply_port,
           header.last ? "true" : "false", count - HEADER, crc32(bytes + HEADER, count - HEADER));
  add_event(event);
}

static void close_received(struct msghdr *message) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
      close(fd);
    }
  }
}

/* A read of nothing is the end only after a hang-up, with nothing left: HDR-8. */
static int hung_up(void) {
  struct pollfd poller = {RECEIVE_FD, POLLIN, 0};
  int left = 0;
  poll(&poller, 1, 0);
  ioctl(RECEIVE_FD, FIONREAD, &left);
  return (poller.revents & POLLHUP) && left == 0;
}

static int read_one(void) {
  static unsigned char bytes[(1 << 20) + HEADER + 1];
  static char control[CMSG_SPACE(253 * sizeof(int)) + 64];
  struct iovec vector = {bytes, max_size + HEADER + 1};
  struct msghdr message = {0};
  if (!open_for_reading) return 0;
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t got = recvmsg(RECEIVE_FD, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return errno == EINTR;
  if (got == 0 && message.msg_controllen == 0 && hung_up()) {
    open_for_reading = 0;
    add_event("{\"ev\":\"closed\"}");
    return 0;
  }
  close_received(&message); /* it takes none */
  handle(bytes, (size_t)got, message.msg_flags & MSG_TRUNC);
  return 1;
}

/* ---- sending ---- */

static void complete(const struct message *message, const char *ok) {
  char event[128];
  for (int buffer = 0; buffer < message->buffers; ++buffer) {
    snprintf(event, sizeof(event),
             "{\"ev\":\"completed\",\"message\":%lld,\"buffer\":%d,\"ok\":%s}", message->id, buffer,
             ok);
    add_event(event);
  }
  if (message->buffers > 0) return;
  snprintf(event, sizeof(event),
           "{\"ev\":\"completed\",\"message\":%lld,\"buffer\":null,\"ok\":%s}", message->id, ok);
  add_event(event);
}

static void drop_first(void) {
  free(queue[0].payload);
  memmove(queue, queue + 1, sizeof(queue[0]) * (size_t)--queued);
}

static int write_one(void) {
  if (queued == 0) return 0;
  struct iovec vectors[2] = {{&queue[0].header, HEADER}, {queue[0].payload, queue[0].bytes}};
  struct msghdr message = {0};
  message.msg_iov = vectors;
  message.msg_iovlen = 2;
  if (sendmsg(SEND_FD, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    if (errno == EINTR) return 1;
    if (errno == EAGAIN) return 0; /* it keeps its place: SND-2 */
    failed = 1;
    while (queued > 0) {
      complete(&queue[0], "false");
      drop_first();
    }
    return 0;
  }
  complete(&queue[0], "true");
  drop_first();
  return 1;
}

/* One datagram per message: what does not fit is not accepted. */
static const char *refusal(const char *command, const struct message *message) {
  if (failed) return "the port failed";
  if (number(command, "type") >= TYPES) return "no such type";
  if (queued == QUEUE) return "the queue is full";
  if (number(command, "fds") > 0) return "it passes no descriptors";
  return message->bytes + HEADER > max_size ? "it sends no fragments" : NULL;
}

static void send_command(const char *command) {
  struct message message = {0};
  const char *chain = find(command, "chain");
  const char *piece = chain;
  message.id = number(command, "message");
  message.header.stream = (uint32_t)number(command, "stream");
  message.header.pid = my_pid;
  message.header.reply_port = (uint16_t)number(command, "reply_port");
  message.header.type = (uint8_t)number(command, "type");
  message.payload = malloc(max_size + 1);
  while (piece && (piece = strchr(piece, '{')) != NULL) {
    char object[256];
    snprintf(object, sizeof(object), "%.*s", (int)(strchr(piece, '}') - piece + 1), piece);
    size_t bytes = truth(object, "sync") ? 0 : (size_t)number(object, "bytes");
    uint64_t seed = (uint64_t)number(object, "seed");
    if (truth(object, "sync") && truth(object, "last")) message.header.last = 1;
    for (size_t i = 0; i < bytes && message.bytes + i < max_size; ++i)
      message.payload[message.bytes + i] = (unsigned char)((seed * 2654435761u + i * 40503u) >> 8);
    message.bytes += bytes;
    ++message.buffers;
    piece = strchr(piece, '}') + 1;
  }
  /* The LAST flag stands outside of the chain. */
  const char *behind = chain ? strchr(chain, ']') : command;
  char head[4096];
  snprintf(head, sizeof(head), "%.*s", chain ? (int)(chain - command) : 0, command);
  if (truth(head, "last") || truth(behind, "last")) message.header.last = 1;
  const char *reason = refusal(command, &message);
  if (reason) {
    free(message.payload);
    printf("{\"accepted\":false,\"reason\":\"%s\"}\n", reason);
    fflush(stdout);
    return;
  }
  queue[queued++] = message;
  if (queued == 1 && !truth(command, "batch")) write_one();
  say("{\"accepted\":true}");
}

/* ---- the commands ---- */

static void start(const char *command) {
  int buffer = 0;
  socklen_t size = sizeof(buffer);
  getsockopt(SEND_FD, SOL_SOCKET, SO_SNDBUF, &buffer, &size);
  max_size = (unsigned)number(command, "max_size");
  my_pid = (int)number(command, "pid");
  if (!strstr(command, "\"unit-1.35.0\"")) {
    say("{\"unsupported\":true}");
  } else if (max_size < 64 || max_size > 1 << 20 || number(command, "max_share") < 1 ||
             max_size > (unsigned)buffer - 32) {
    say("{\"ok\":false,\"reason\":\"parameters\"}");
  } else {
    printf("{\"ok\":true,\"max_size\":%u,\"types\":[\"data\"]}\n", max_size);
    fflush(stdout);
  }
}

static void run(const char *command) {
  int idle = (int)number(command, "idle_ms");
  for (;;) {
    if (read_one() | write_one()) continue;
    struct pollfd polls[2] = {{open_for_reading ? RECEIVE_FD : -1, POLLIN, 0},
                              {queued > 0 ? SEND_FD : -1, POLLOUT, 0}};
    if (poll(polls, 2, idle) <= 0) break;
  }
  printf("{\"events\":[%s]}\n", events_length ? events : "");
  fflush(stdout);
  events_length = 0;
}

static void reset(void) {
  while (queued > 0) drop_first();
  while (read_one()) {
  }
  events_length = 0;
  say("{\"ok\":true}");
}

int main(void) {
  char *line = NULL;
  size_t room = 0;
  printf(
      "{\"hello\":1,\"name\":\"example\",\"version\":\"1\",\"pid\":%d,"
      "\"roles\":[\"receiver\",\"sender\"],\"features\":[],\"profiles\":[\"unit-1.35.0\"],"
      "\"limits\":{\"queue_messages\":%d}}\n",
      getpid(), QUEUE);
  fflush(stdout);
  while (getline(&line, &room, stdin) > 0) {
    if (strstr(line, "\"cmd\":\"start\"")) {
      start(line);
    } else if (strstr(line, "\"cmd\":\"send\"")) {
      send_command(line);
    } else if (strstr(line, "\"cmd\":\"run\"")) {
      run(line);
    } else if (strstr(line, "\"cmd\":\"stats\"")) {
      printf("{\"open_assemblies\":0,\"held_bytes\":0,\"queued_messages\":%d,\"chunks_busy\":0}\n",
             queued);
      fflush(stdout);
    } else if (strstr(line, "\"cmd\":\"keep\"")) {
      say("{\"ok\":true}");
    } else if (strstr(line, "\"cmd\":\"reset\"")) {
      reset();
    } else if (strstr(line, "\"cmd\":\"quit\"")) {
      break;
    } else {
      say("{\"unsupported\":true}");
    }
  }
  free(line);
  return 0;
}
