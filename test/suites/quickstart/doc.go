// Package quickstart contains only tests. They run the program of examples/quickstart.
package quickstart
