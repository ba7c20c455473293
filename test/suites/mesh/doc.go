// Package mesh contains only tests. They run the real secret-sync binary with a real API
// server in a network namespace that redirects connections to a proxy, like the Pod of a
// service mesh. The redirect is active before the proxy runs.
//
// The tests require root, and nft of the Debian package nftables, so they need the build tag
// programs.
package mesh
