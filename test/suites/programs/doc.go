// Package programs contains only tests. It runs a table of Debian's programs beside the real
// secret-sync binary, in PID namespaces as in a Pod, and asks them from outside which version
// of a Secret they use. docs/programs.md is generated from the table and the measurements.
//
// A new program is an entry of the table: its name, package, command, probe and ways to notify
// it. The placeholders are those of the type program, the keys of the Secret those of
// probe.Secret.
//
// The tests require root and the build tag programs. CONTRIBUTING.md lists the packages.
package programs
