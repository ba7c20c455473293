// Package programs has tests only: the real secret-sync binary notifies real
// programs (nginx, PostgreSQL, Python, Node, C, Go), beside them in a PID
// namespace as in a Pod, and kills none.
//
// They need those programs, and root or a user namespace: so they are built with
// the tag programs only (the README has the packages). More of what is
// random: PROGRAMS_STARTS (of programs, over all kinds), PROGRAMS_KILLS (of the
// sidecar), PROGRAMS_REUSES (of a PID); PROGRAMS_SEED repeats a run.
package programs
