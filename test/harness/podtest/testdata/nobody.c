// nobody PROGRAM ARG...: runs the program as another user than root, by a user
// namespace: for tests that are not root and so cannot become another user.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

static int put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  return fd < 0 || dprintf(fd, "%s", text) < 0 || close(fd);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  if (unshare(CLONE_NEWUSER) || put("/proc/self/setgroups", "deny") ||
      put("/proc/self/uid_map", "65534 0 1") || put("/proc/self/gid_map", "65534 0 1")) {
    perror("nobody");
    return 98;
  }
  execv(argv[1], argv + 1);
  perror(argv[1]);
  return 97;
}
