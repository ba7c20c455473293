// Package controlplane runs a real Kubernetes control plane, without a node, on
// a machine that has nothing but Go: etcd and kube-apiserver, built once from
// their Go modules (the module in servers/) into the user's cache folder, started as
// processes of their own on free loopback ports. All of the API is there: RBAC,
// admission, Pod Security, watches, bookmarks. Nothing runs Pods.
//
// What is left behind: the two servers and Go's build cache. The processes die
// with the program that started them, also with kill -9; only in that case does
// the temporary folder stay.
package controlplane
