package main

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// scramIterations is the default of PostgreSQL.
const scramIterations = 4096

// scramVerifier returns PostgreSQL's verifier for a password (RFC 5802 and RFC 7677).
// PostgreSQL accepts the verifier in CREATE ROLE in place of the password, so neither
// its log nor its statistics contain the password. The password must be ASCII, because
// scramVerifier does not normalize it.
func scramVerifier(password string) (string, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	return scramVerifierWithSalt(password, salt)
}

func scramVerifierWithSalt(password string, salt []byte) (string, error) {
	saltedPassword, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive the SCRAM key: %w", err)
	}
	storedKey := sha256.Sum256(hmacSHA256(saltedPassword, "Client Key"))
	serverKey := hmacSHA256(saltedPassword, "Server Key")
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s",
		scramIterations, encode(salt), encode(storedKey[:]), encode(serverKey)), nil
}

func hmacSHA256(key []byte, message string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(message))
	return mac.Sum(nil)
}
