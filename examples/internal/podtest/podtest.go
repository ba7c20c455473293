//go:build programs

package programs

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getuid() != 0 {
		os.Exit(asRootOfANamespace())
	}
	// Most tests wait most of the time.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	fmt.Fprintf(os.Stderr, "PROGRAMS_SEED=%d\n", seed)
	sidecartest.Main(m)
}

// inUserNamespace is set when this process is only root of its user namespace.
const inUserNamespace = "PROGRAMS_IN_USER_NAMESPACE"

// asRootOfANamespace runs this program again, as a user that may make namespaces.
func asRootOfANamespace() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inUserNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	signal.Ignore(syscall.SIGINT) // the terminal sends it to both
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintf(os.Stderr, "programs: these tests make PID namespaces: run them as root, or allow user namespaces: %v\n", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

var seed = number("PROGRAMS_SEED", int(time.Now().UnixNano()&0xffffffff))

// number is an environment variable's, or what it is without one.
func number(variable string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(variable))
	if err != nil {
		return otherwise
	}
	return n
}

// random gives the same numbers for a test of the same name and seed.
func random(t *testing.T) *rand.Rand {
	name := uint64(14695981039346656037)
	for _, c := range []byte(t.Name()) {
		name = (name ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(uint64(seed), name))
}

// upTo is a random time below d.
func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
