// target MODE VALUE PIDFILE DELAY: does with HUP what MODE says, after DELAY ms.
//   handler  prints "notified N", N being what the file VALUE holds then
//   sigwait  the same, without a handler
//   ignore   ignores it
//   none     nothing: the signal's default is to end the process
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const char *path) {
  char value[64] = "";
  FILE *f = fopen(path, "r");
  if (f == NULL || fgets(value, sizeof value, f) == NULL) strcpy(value, "unreadable");
  if (f != NULL) fclose(f);
  printf("notified %s\n", value);
}

static void handle(int sig) { (void)sig; }

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  const char *mode = argv[1], *value = argv[2];
  FILE *f = fopen(argv[3], "w");
  if (f != NULL) {
    fprintf(f, "%d\n", (int)getpid());
    fclose(f);
  }
  setvbuf(stdout, NULL, _IONBF, 0);
  usleep(atoi(argv[4]) * 1000);
  sigset_t hup, none;
  sigemptyset(&none);
  sigemptyset(&hup);
  sigaddset(&hup, SIGHUP);
  struct sigaction sa = {.sa_handler = handle};
  if (!strcmp(mode, "ignore")) signal(SIGHUP, SIG_IGN);
  if (!strcmp(mode, "sigwait") || !strcmp(mode, "handler")) sigprocmask(SIG_BLOCK, &hup, NULL);
  if (!strcmp(mode, "handler")) sigaction(SIGHUP, &sa, NULL);
  printf("ready\n");
  for (;;) {
    int sig;
    if (!strcmp(mode, "handler")) sigsuspend(&none);
    else if (!strcmp(mode, "sigwait")) sigwait(&hup, &sig);
    else { pause(); continue; }
    say(value);
  }
}
