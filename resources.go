package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// useOneProcessor makes Go run a single goroutine at a time, which is sufficient for this work.
// On a second core, goroutines would only wake up early: inotify immediately reports the writes
// of the process itself. Go also keeps caches and threads for each core, 2.3 MB for 64 cores. A
// GOMAXPROCS of the user takes precedence.
func useOneProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// memoryLimitFiles contain the memory limit of the container in bytes, for cgroup v2 and v1, as
// a container with a cgroup namespace sees them.
var memoryLimitFiles = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// limitMemory limits the memory of Go to 3/8 of the limit of the container. The same limit
// covers a memory volume with up to five generations of the Secrets, and some 10 MiB of the
// binary. Measured with eight changes of five Secrets of 900 KB, a volume of 22 MiB and a
// container limit of 64 MiB:
//
//	Go's limit   none    32    24    20 MiB
//	peak RSS       42    39    31    28 MiB
//	CPU          0.35  0.37  0.44  0.62 s
func limitMemory(files ...string) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return // read by the runtime
	}
	for _, file := range files {
		text, _ := os.ReadFile(file) // a missing file and "max" are no limit
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			debug.SetMemoryLimit(limit / 8 * 3)
			return
		}
	}
}
