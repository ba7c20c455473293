// reuse PID PROGRAM ARG...: runs the program under a number that was another
// one's, which must be free, and ends as it does; 99 when it got another number.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  int pid = atoi(argv[1]), status;
  int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY);
  if (fd < 0 || dprintf(fd, "%d", pid - 1) < 0) {
    perror("ns_last_pid");
    return 98;
  }
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getpid() != pid) _exit(99);
    execv(argv[2], argv + 2);
    _exit(97);
  }
  while (waitpid(child, &status, 0) < 0) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
