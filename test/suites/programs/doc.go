// Package programs has tests only: the real secret-sync binary notifies other people's
// programs (nginx, HAProxy, PostgreSQL, Python, Node) and one in C and one in Go, beside
// them in a PID namespace as in a Pod; each reads the new value, and none dies.
//
// They need those programs, and root or a user namespace: so they are built with
// the tag programs only (the README has the packages). More of what is random:
// PROGRAMS_STARTS (of programs, over all kinds); PROGRAMS_SEED repeats a run.
package programs
