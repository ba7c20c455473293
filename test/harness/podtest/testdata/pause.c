// pause is PID 1 of a PID namespace: it mounts /proc for it, says so, and reaps,
// as the sandbox container of a Pod. With arguments it becomes that program.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(int sig) {
  if (sig == SIGHUP) write(1, "notified\n", 9); // a signal that nobody may send
}

int main(int argc, char **argv) {
  if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
      mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)) {
    perror("pause: mount /proc");
    return 1;
  }
  if (argc > 1) {
    execv(argv[1], argv + 1);
    perror(argv[1]);
    return 1;
  }
  struct sigaction sa = {.sa_handler = say};
  sigset_t child, none;
  sigemptyset(&none);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, NULL);
  sigaction(SIGCHLD, &sa, NULL);
  sigaction(SIGHUP, &sa, NULL);
  write(1, "ready\n", 6);
  for (;;) {
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    sigsuspend(&none);
  }
}
