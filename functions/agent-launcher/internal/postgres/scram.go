package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

const iterations = 4096 // as Postgres' own scram_iterations

// verifier is what Postgres keeps of a password. It takes one in place of the password.
// https://www.rfc-editor.org/rfc/rfc5803 and https://www.postgresql.org/docs/current/catalog-pg-authid.html
func verifier(password string) string {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	return scram(password, salt)
}

func scram(password string, salt []byte) string {
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		panic(err) // a length or a salt that is no good, which these are not
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]), encode(keyed(salted, "Server Key")))
}

func keyed(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
