package sqlite

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// fingerprint returns a short digest of texts, for comparing only.
func fingerprint(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		fmt.Fprintf(h, "%q\n", t)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}
