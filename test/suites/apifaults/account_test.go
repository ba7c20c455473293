package apifaults

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
)

// TestRole_revoked: an open watch continues. The next watch is forbidden, and the log
// contains the missing RBAC rule.
func TestRole_revoked(t *testing.T) {
	t.Parallel()
	s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	p := newPair(t, s)
	roles := st.ControlPlane().Client.RbacV1()
	bindings := roles.RoleBindings(s.Namespace)
	if err := bindings.Delete(t.Context(), "secret-sync-"+st.Account, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	testsupport.Eventually(t, "the API server to apply the change", func() error { return p.allowed(t, false) })
	r.Gateway.EndAll()
	p.SetSecret("db", files{"k": "2"})
	testsupport.Eventually(t, "the sidecar to notice the fault", func() error { return p.watchUp("0") })
	p.endure(t)
	p.run.WaitLog(down) // not at the first 403: a starting API server may return it
	s.Apply(s.Print("rbac", st.Account))
	testsupport.Eventually(t, "the API server to apply the change", func() error { return p.allowed(t, true) })
	p.recover(t, faultproxy.Patience)
	p.checkStates(t, `{apiGroups: [""], resources: [secrets], resourceNames: ["db"], verbs: [list, watch]}`)
}

// allowed checks whether the API server allows the account to watch the Secret.
func (p *pair) allowed(t *testing.T, want bool) error {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:" + p.Namespace + ":" + st.Account,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: p.Namespace, Resource: "secrets", Name: "db", Verb: "watch",
		},
	}}
	reviews := st.ControlPlane().Client.AuthorizationV1().SubjectAccessReviews()
	review, err := reviews.Create(t.Context(), review, metav1.CreateOptions{})
	if err == nil && review.Status.Allowed != want {
		err = fmt.Errorf("allowed is %v, want %v", review.Status.Allowed, want)
	}
	return err
}

// leeway is the time for which the API server accepts an expired token.
const leeway = time.Minute

// TestToken_expired: the token expires, and is renewed later.
func TestToken_expired(t *testing.T) {
	t.Parallel()
	s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	file := s.Kubeconfig + ".token"
	good := st.Read(t, file)
	short := expiring(t, good, time.Now().Add(3*time.Second-leeway))
	st.Write(t, file, short)
	p := newPair(t, s)
	// The API server caches a valid token for 10 s.
	testsupport.Eventually(t, "the token to expire", func() error { return unauthorized(t, s, short) })
	r.Gateway.EndAll()
	p.SetSecret("db", files{"k": "2"})
	testsupport.Eventually(t, "the sidecar to notice the fault", func() error { return p.watchUp("0") })
	p.endure(t)
	st.Write(t, file, good)
	p.recover(t, faultproxy.Patience)
	p.checkStates(t, "Unauthorized")
}

// expiring returns a token with another expiry time, signed with the API server's key.
func expiring(t *testing.T, token string, at time.Time) string {
	t.Helper()
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	claims["exp"] = at.Unix()
	if payload, err = json.Marshal(claims); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(st.Read(t, filepath.Join(st.ControlPlane().Dir(), "pki", "sa.key"))))
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signed := parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload)
	hash := sha256.Sum256([]byte(signed))
	a, b, err := ecdsa.Sign(rand.Reader, key, hash[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64) // ES256: both numbers, 32 bytes each
	a.FillBytes(signature[:32])
	b.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// unauthorized returns nil if the API server rejects the token.
func unauthorized(t *testing.T, s *st.Scene, token string) error {
	config := rest.AnonymousClientConfig(st.ControlPlane().Config)
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Secrets(s.Namespace).Get(t.Context(), "db", metav1.GetOptions{})
	if !apierrors.IsUnauthorized(err) {
		return fmt.Errorf("get with the token: %v, want unauthorized", err)
	}
	return nil
}
