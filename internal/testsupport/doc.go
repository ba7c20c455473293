// Package testsupport contains the helpers shared by the tests of several packages: a log
// buffer, polling, checks of errors, and the search for Secret values in output.
//
// Tests of the root module and of the modules test and examples import it. It imports
// the standard library only, and it knows nothing about Secrets, volumes or Kubernetes.
// Servers and sidecars for end-to-end tests are in test/servers and test/harness.
package testsupport
