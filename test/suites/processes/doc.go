// Package processes has tests only: what the real secret-sync binary does beside
// processes that come and go, in a PID namespace as in a Pod. The sidecar itself is
// killed; an app ends and another process gets its PID; a PID file is empty or stale; a
// process has no handler, or must not be signalled at all. For programs that other
// people wrote see the package programs.
//
// They need gcc, and root or a user namespace: so they are built with the tag
// programs only (the README has the packages). More of what is random: PROGRAMS_KILLS
// (of the sidecar), PROGRAMS_REUSES (of a PID); PROGRAMS_SEED repeats a run.
package processes
