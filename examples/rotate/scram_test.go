package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"testing"
)

// TestSCRAMVerifier_matchesRFC7677 checks the verifier for the password of section 3 of the
// RFC with the proof of the client and the signature of the server in the same section.
func TestSCRAMVerifier_matchesRFC7677(t *testing.T) {
	const (
		authMessage = "n=user,r=rOprNGfwEbeRWgbNEkqO," +
			"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
		clientProof     = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
		serverSignature = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
	)
	verifier, err := scramVerifierWithSalt("pencil", decode(t, "W22ZaJ0SNY7soEsUEjb6gQ=="))
	if err != nil {
		t.Fatal(err)
	}
	header, keys, _ := strings.Cut(strings.TrimPrefix(verifier, "SCRAM-SHA-256$"), "$")
	if want := "4096:W22ZaJ0SNY7soEsUEjb6gQ=="; header != want {
		t.Errorf("iterations and salt: got %s, want %s", header, want)
	}
	storedKey, serverKey, _ := strings.Cut(keys, ":")

	// The client proof is ClientKey XOR HMAC(StoredKey, AuthMessage), and StoredKey is
	// SHA-256(ClientKey).
	clientKey := make([]byte, sha256.Size)
	subtle.XORBytes(clientKey, decode(t, clientProof), hmacSHA256(decode(t, storedKey), authMessage))
	if got := sha256.Sum256(clientKey); base64.StdEncoding.EncodeToString(got[:]) != storedKey {
		t.Errorf("the client proof of the RFC does not match StoredKey %s", storedKey)
	}
	if got := hmacSHA256(decode(t, serverKey), authMessage); base64.StdEncoding.EncodeToString(got) != serverSignature {
		t.Errorf("ServerKey %s does not produce the server signature of the RFC", serverKey)
	}
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
