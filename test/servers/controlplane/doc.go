// Package controlplane runs a real Kubernetes control plane without a node. It requires
// nothing but Go: it builds etcd and kube-apiserver once from their Go modules (the
// module in servers/) into the user's cache directory, and starts them as processes on
// free loopback ports. The whole API works: RBAC, admission, Pod Security, watches and
// bookmarks. No kubelet runs Pods.
//
// The two binaries and the build cache of Go remain on the machine. The processes end
// with their parent, even after kill -9. Only then does the temporary
// directory remain as well.
package controlplane
