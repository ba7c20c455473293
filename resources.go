package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// useOneProcessor lets one goroutine run at a time, which is enough for all
// there is to do. On a second core others would only wake up beside it: inotify
// reports what it writes at once. And Go keeps caches and threads for each core,
// which for 64 are 2.3 MB. GOMAXPROCS, if the user sets it, stays.
func useOneProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// memoryLimitFiles hold the container's own memory limit in bytes, for cgroup v2
// and v1, as a container with a cgroup namespace sees them.
var memoryLimitFiles = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// limitMemory keeps Go to 3/8 of what the container may use. A memory volume
// counts against the same limit, at up to five generations of the Secrets, and so
// can some 10 MiB of the binary. Measured with five Secrets of 900 KB that
// change eight times, and a volume of 22 MiB; the example's limit is 64 MiB:
//
//	Go's limit   none    32    24    20 MiB
//	peak RSS       42    39    31    28 MiB
//	CPU          0.35  0.37  0.44  0.62 s
func limitMemory(files ...string) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return // the runtime has read it
	}
	for _, file := range files {
		text, _ := os.ReadFile(file) // "max" and no file at all: no limit
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			debug.SetMemoryLimit(limit / 8 * 3)
			return
		}
	}
}
