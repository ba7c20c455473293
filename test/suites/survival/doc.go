// Package survival contains only tests. The real secret-sync binary notifies programs of other
// projects (nginx, HAProxy, PostgreSQL, Python, Node), a C program and a Go program, in a
// shared PID namespace as in a Pod. Each program reads the new value, and none dies, even if
// it has just started or serves a load.
//
// The tests require these programs, and root or a user namespace, so they need the build tag
// programs. CONTRIBUTING.md lists the packages. PROGRAMS_STARTS sets the number of starts over
// all kinds of programs, and PROGRAMS_SEED repeats a run.
package survival
