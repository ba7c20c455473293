// Command rotate rotates the database user in a Secret, and proves that no Pod uses the
// old user before it drops it. Two users alternate:
//
//  1. It creates the other user with a new password and writes it to the Secret.
//  2. It runs `secret-sync wait`, which returns when every Pod uses the new user.
//  3. It waits until the old user has no session, and drops the old user.
//
// A run may die at any point. The next run finishes the rotation. Runs may overlap. See
// rotation.go.
//
//	rotate [-dry-run] [-- FLAGS]
//
// The FLAGS are passed to `secret-sync wait`. With -dry-run, the command prints its
// statements without secret values and changes nothing. The environment:
//
//	ROTATE_SECRET           the Secret, with the keys username and password
//	ROTATE_USERS            the two users, separated by a comma
//	ROTATE_DATABASE         mysql://HOST:PORT/NAME or postgres://HOST:PORT/NAME
//	ROTATE_ADMIN            the directory of the administrator's username and password
//	ROTATE_SESSION_TIMEOUT  the maximum wait for the sessions of the old user, default 1m
//	POD_NAMESPACE           the namespace of the Secret
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	v1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "rotate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("rotate", flag.ContinueOnError)
	dryRun := flags.Bool("dry-run", false, "print the statements and change nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r, err := fromEnvironment(ctx)
	if err != nil {
		return err
	}
	defer r.db.close()
	r.wait = waitCommand(r.secret, flags.Args())
	if *dryRun {
		return r.preview(ctx)
	}
	return r.run(ctx)
}

// fromEnvironment returns the rotation described by the environment. It connects to the
// database.
func fromEnvironment(ctx context.Context) (*rotation, error) {
	required := []string{"ROTATE_SECRET", "ROTATE_USERS", "ROTATE_DATABASE", "ROTATE_ADMIN", "POD_NAMESPACE"}
	for _, name := range required {
		if os.Getenv(name) == "" {
			return nil, fmt.Errorf("%s is not set", name)
		}
	}
	users := strings.Split(os.Getenv("ROTATE_USERS"), ",")
	if len(users) != 2 || users[0] == users[1] {
		return nil, fmt.Errorf("ROTATE_USERS=%q must be two names, such as app_a,app_b", os.Getenv("ROTATE_USERS"))
	}
	sessionTimeout, err := time.ParseDuration(cmp.Or(os.Getenv("ROTATE_SESSION_TIMEOUT"), "1m"))
	if err != nil {
		return nil, fmt.Errorf("ROTATE_SESSION_TIMEOUT: %w", err)
	}
	secrets, err := secretsClient(os.Getenv("POD_NAMESPACE"))
	if err != nil {
		return nil, err
	}
	admin, err := pool.ReadCredentials(os.Getenv("ROTATE_ADMIN"))
	if err != nil {
		return nil, fmt.Errorf("administrator: %w", err)
	}
	db, err := openDatabase(ctx, os.Getenv("ROTATE_DATABASE"), admin)
	if err != nil {
		return nil, err
	}
	return &rotation{
		db: db, secrets: secrets, secret: os.Getenv("ROTATE_SECRET"), users: [2]string(users),
		sessionTimeout: sessionTimeout, out: os.Stdout,
	}, nil
}

// secretsClient connects to the cluster of KUBECONFIG, else with the service account of
// the Pod.
func secretsClient(namespace string) (v1.SecretInterface, error) {
	config, err := rest.InClusterConfig()
	if path := os.Getenv("KUBECONFIG"); path != "" {
		config, err = clientcmd.BuildConfigFromFlags("", path)
	}
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	client, err := v1.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return client.Secrets(namespace), nil
}
