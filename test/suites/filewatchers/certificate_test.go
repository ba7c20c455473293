package filewatchers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/secret-sync/secret-sync/internal/secret"
)

// certwatcherFollow uses certwatcher, which serves TLS in most controllers. It watches the
// inodes of both files. Its polling interval of 10 s does not affect the test.
func certwatcherFollow(t *testing.T, v volume, seen func(string)) {
	log.SetLogger(logr.Discard())
	w, err := certwatcher.New(v.file("tls.crt"), v.file("tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 1)
	w.WithWatchInterval(time.Hour).RegisterCallback(func(tls.Certificate) {
		select { // seen may run while GetCertificate's lock is held
		case changed <- struct{}{}:
		default:
		}
	})
	inBackground(t, func(ctx context.Context) {
		if err := w.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	inBackground(t, func(ctx context.Context) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			cert, err := w.GetCertificate(nil)
			if err != nil {
				t.Error(err)
				return
			}
			seen(cert.Leaf.SerialNumber.String())
		}
	})
	awaitWatched(t, v.file("tls.crt"), v.file("tls.key"))
}

// awaitWatched waits until an inotify descriptor of this process watches the inode of each
// file.
func awaitWatched(t *testing.T, files ...string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		watch := regexp.MustCompile(fmt.Sprintf(`inotify wd:\w+ ino:%x sdev`, inode(info)))
		for !watch.MatchString(descriptors(t)) {
			if time.Now().After(deadline) {
				t.Fatalf("no inotify watch for %s", file)
			}
		}
	}
}

// descriptors returns the kernel's information about all descriptors of this process.
func descriptors(t *testing.T) string {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, name := range all {
		one, err := os.ReadFile(name)
		if err != nil {
			continue // closed in the meantime
		}
		text.Write(one)
	}
	return text.String()
}

// A pair is a certificate and its key in PEM.
type pair struct{ cert, key secret.Value }

var makePairs = sync.OnceValues(func() ([]pair, error) {
	var all []pair
	for serial := range int64(rotations + 6) {
		p, err := newPair(serial + 1)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
})

// pairs returns a certificate for each published value. The value is its serial number.
func pairs(t *testing.T) []pair {
	t.Helper()
	all, err := makePairs()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func newPair(serial int64) (pair, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return pair{}, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return pair{}, err
	}
	return pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}, nil
}
