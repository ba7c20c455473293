//go:build programs

package programs

import "slices"

var programs = slices.Concat(databases, webServers, networkServers, appServers)
