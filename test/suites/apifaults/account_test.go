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

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
)

// TestRoleTakenAway: a watch goes on as long as it is open; the next one is
// forbidden, and the log has the rule to add.
func TestRoleTakenAway(t *testing.T) {
	t.Parallel()
	s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	p := newPair(t, s)
	roles := st.ControlPlane().Client.RbacV1()
	if err := roles.RoleBindings(s.Namespace).Delete(t.Context(), "secret-sync-"+st.Account, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	st.Until(t, "the API server knows", func() error { return p.allowed(t, false) })
	r.Gateway.EndAll()
	p.Put("db", files{"k": "2"})
	st.Until(t, "the fault is seen", func() error { return p.watchUp("0") })
	p.endure(t)
	p.run.WaitLog(down) // not at the first 403, which may be an API server that starts
	s.Apply(s.RBAC())
	st.Until(t, "the API server knows", func() error { return p.allowed(t, true) })
	p.recover(t, faultproxy.Patience)
	p.checkStates(t, `{apiGroups: [""], resources: [secrets], resourceNames: ["db"], verbs: [list, watch]}`)
}

// allowed checks what the API server thinks that the account may do.
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

// leeway is for how long the API server takes a token that is expired.
const leeway = time.Minute

// TestTokenExpires: nobody renewed the token in time, and then somebody did.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	s, r := faultproxy.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	file := s.Kubeconfig + ".token"
	good := st.Read(t, file)
	short := expiring(t, good, time.Now().Add(3*time.Second-leeway))
	st.Write(t, file, short)
	p := newPair(t, s)
	// The API server keeps for 10 s that a token was good.
	st.Until(t, "the token is expired", func() error { return unauthorized(t, s, short) })
	r.Gateway.EndAll()
	p.Put("db", files{"k": "2"})
	st.Until(t, "the fault is seen", func() error { return p.watchUp("0") })
	p.endure(t)
	st.Write(t, file, good)
	p.recover(t, faultproxy.Patience)
	p.checkStates(t, "Unauthorized")
}

// expiring makes a token that ends at another time, with the API server's key.
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

// unauthorized is nil when the API server refuses the token.
func unauthorized(t *testing.T, s *st.Scene, token string) error {
	config := rest.AnonymousClientConfig(st.ControlPlane().Config)
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Secrets(s.Namespace).Get(t.Context(), "db", metav1.GetOptions{})
	if !apierrors.IsUnauthorized(err) {
		return fmt.Errorf("get with it: %v, want unauthorized", err)
	}
	return nil
}
