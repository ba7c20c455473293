// Command rotate changes the database user that is in a Secret, as two of the
// three steps of a rotation. Two users take turns:
//
//	rotate prepare             makes the other user, with a new password, and puts it into the Secret
//	secret-sync wait ...       returns when every Pod has changed to it
//	rotate finish              drops the user that was in the Secret before
//
// A run that dies at any point is finished by the next one, and two runs at once do
// no harm: see rotation.go. The environment:
//
//	ROTATE_SECRET     the Secret; its keys username and password
//	ROTATE_USERS      the two users, comma-separated
//	ROTATE_DATABASE   mysql://HOST:PORT/NAME or postgres://HOST:PORT/NAME
//	ROTATE_ADMIN      the folder of the administrator's username and password
//	ROTATE_STATE      a file that prepare writes and finish reads
//	POD_NAMESPACE     the Secret's namespace
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/client-go/kubernetes"
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
	if len(args) != 1 || args[0] != "prepare" && args[0] != "finish" {
		return errors.New("it takes one argument: prepare or finish")
	}
	r, err := fromEnvironment(ctx)
	if err != nil {
		return err
	}
	defer r.db.close()
	if args[0] == "prepare" {
		return r.prepare(ctx)
	}
	return r.finish(ctx)
}

// fromEnvironment connects to the cluster, KUBECONFIG's or else that of the Pod's
// service account, and to the database.
func fromEnvironment(ctx context.Context) (*rotation, error) {
	for _, name := range []string{"ROTATE_SECRET", "ROTATE_USERS", "ROTATE_DATABASE", "ROTATE_ADMIN", "ROTATE_STATE", "POD_NAMESPACE"} {
		if os.Getenv(name) == "" {
			return nil, fmt.Errorf("%s is not set", name)
		}
	}
	users := strings.Split(os.Getenv("ROTATE_USERS"), ",")
	if len(users) != 2 || users[0] == users[1] {
		return nil, fmt.Errorf("ROTATE_USERS=%q: it has to be two names, such as app_a,app_b", os.Getenv("ROTATE_USERS"))
	}
	config, err := rest.InClusterConfig()
	if path := os.Getenv("KUBECONFIG"); path != "" {
		config, err = clientcmd.BuildConfigFromFlags("", path)
	}
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	admin, err := pool.ReadCredentials(os.Getenv("ROTATE_ADMIN"))
	if err != nil {
		return nil, fmt.Errorf("the administrator's credentials: %w", err)
	}
	db, err := openDatabase(ctx, os.Getenv("ROTATE_DATABASE"), admin)
	if err != nil {
		return nil, err
	}
	return &rotation{
		db: db, secrets: client.CoreV1().Secrets(os.Getenv("POD_NAMESPACE")), secret: os.Getenv("ROTATE_SECRET"),
		users: [2]string(users), stateFile: os.Getenv("ROTATE_STATE"), out: os.Stdout,
	}, nil
}
