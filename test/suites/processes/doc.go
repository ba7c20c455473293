// Package processes contains only tests. They run the real secret-sync binary beside
// processes that start and end, in a shared PID namespace as in a Pod. The sidecar is killed;
// the PID of an app is reused; a PID file is empty or stale; a process handles no signal, or
// must never be signaled. Package programs tests programs of other projects.
//
// The tests require gcc, and root or a user namespace, so they need the build tag programs.
// CONTRIBUTING.md lists the packages. PROGRAMS_KILLS sets the number of kills of the sidecar,
// PROGRAMS_REUSES the number of reused PIDs, and PROGRAMS_SEED repeats a run.
package processes
