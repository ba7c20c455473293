package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

var keys sync.Map // by version

// Key returns the private key of a version.
func Key(n int64) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	stored, _ := keys.LoadOrStore(n, key)
	return stored.(*ecdsa.PrivateKey)
}

// Pair returns a self-signed certificate whose serial number is n, and its key, as PEM.
func Pair(n int64) (certificate, key []byte) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(n),
		Subject:      pkix.Name{CommonName: "localhost"}, // Java rejects a certificate without an issuer
		NotAfter:     time.Now().Add(24 * time.Hour),
		DNSNames:     []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, Key(n).Public(), Key(n))
	if err != nil {
		panic(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(Key(n))
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// Secret returns the version n of a Secret: a certificate, the password "password-N" of the
// user app, and the same in the forms of some programs.
func Secret(n int64) map[string]string {
	certificate, key := Pair(n)
	password := fmt.Sprintf("password-%d", n)
	return map[string]string{
		"n":            fmt.Sprint(n),
		"password":     password,
		"tls.crt":      string(certificate),
		"tls.key":      string(key),
		"combined.pem": string(key) + string(certificate),
		"mosquitto":    "app:" + mosquitto(password) + "\n",
		"htpasswd":     "app:" + crypted(password) + "\n",
		"dovecot":      "app:{PLAIN}" + password + "\n",
		"userlist.txt": fmt.Sprintf("\"app\" \"%s\"\n", password),
		"nats.conf":    fmt.Sprintf("authorization: {user: app, password: %s}\n", password),
		"labels.yml":   fmt.Sprintf("global:\n  external_labels: {version: \"n%d\"}\n", n),
		"receiver.yml": fmt.Sprintf("route: {receiver: n%d}\nreceivers: [{name: n%[1]d}]\n", n),
	}
}

// mosquitto hashes a password like mosquitto_passwd.
func mosquitto(password string) string {
	const rounds = 101
	salt := []byte("twelve bytes")
	hash, err := pbkdf2.Key(sha512.New, password, salt, rounds, sha512.Size)
	if err != nil {
		panic(err)
	}
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("$7$%d$%s$%s", rounds, encode(salt), encode(hash))
}

// crypted hashes a password like htpasswd.
func crypted(password string) string {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(hash)
}
