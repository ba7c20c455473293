// Command informers compares secret-sync with client-go's ways to follow a Secret by name.
// It builds each program with the flags of the product, runs it against a real API server,
// and prints its size and its memory:
//
//	go run -C test ./tools/informers
//
// docs/design.md contains the result. The two other programs only print a line.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/test/harness/build"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
	"github.com/secret-sync/secret-sync/test/tools/load/candidate"
	"github.com/secret-sync/secret-sync/test/tools/load/usage"
)

const namespace = "default"

// programs are the packages to compare, and the directory of their module.
var programs = []struct{ name, module, pkg string }{
	{"Reflector on a RESTClient", "test", "./tools/informers/reflector"},
	{"typed client and informer", "test", "./tools/informers/informer"},
	{"secret-sync", ".", "."},
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "informers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "informers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cluster, err := controlplane.Start(ctx, controlplane.Options{Progress: os.Stderr})
	if err != nil {
		return err
	}
	defer cluster.Close()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "db"}, StringData: map[string]string{"password": "p"}}
	if _, err := cluster.Client.CoreV1().Secrets(namespace).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return err
	}
	fmt.Println("| program | binary | RSS | anonymous |\n| --- | --- | --- | --- |")
	for i, p := range programs {
		binary := filepath.Join(dir, fmt.Sprint("program", i))
		if err := build.Package(ctx, p.module, p.pkg, binary); err != nil {
			return err
		}
		size, memory, err := measure(ctx, binary, filepath.Join(dir, fmt.Sprint("volume", i)), cluster.Kubeconfig())
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %s | %s | %s |\n", p.name, usage.MB(size), usage.MB(memory.RSS), usage.MB(memory.Anonymous))
	}
	return nil
}

// measure returns the size of a program, and its memory a while after it has the Secret.
func measure(ctx context.Context, binary, volume, kubeconfig string) (size int64, m usage.Memory, err error) {
	info, err := os.Stat(binary)
	if err != nil {
		return 0, m, err
	}
	if err := os.Mkdir(volume, 0o755); err != nil {
		return 0, m, err
	}
	env := []string{"KUBECONFIG=" + kubeconfig, "POD_NAMESPACE=" + namespace, "GOMAXPROCS=1",
		"SECRETSYNC_SECRETS=db", "SECRETSYNC_HTTP_ADDR=127.0.0.1:0"}
	p, err := candidate.Start(exec.Command(binary), volume, env)
	if err != nil {
		return 0, m, err
	}
	defer p.End()
	err = candidate.Until(ctx, "the Secret", func() error {
		if log := p.Log(); !strings.Contains(log, "synced") && !strings.Contains(log, "published") {
			return fmt.Errorf("log: %s", log)
		}
		return nil
	})
	if err != nil {
		return 0, m, err
	}
	m, err = p.SteadyMemory(ctx)
	return info.Size(), m, err
}
