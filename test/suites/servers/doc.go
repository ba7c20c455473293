// Package servers contains only tests. It runs the servers of examples/cases (PostgreSQL and
// Redis) with the settings of their manifests. The real sidecar runs beside them in a shared
// PID namespace, with the UID of the server. Each test rotates, and asks the server from
// outside directly after each notification.
//
// The tests require root and the build tag programs. CONTRIBUTING.md lists the packages.
package servers
