package keys

import (
	"bytes"
	"fmt"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Claimed checks that sig is a signature over message in namespace by the key
// that sig itself brings along, and returns that key's fingerprint. It answers
// whether the bytes are those that somebody signed, and nothing about who: for
// that there is [Trust.Verify], which every reader has to ask. An auditor asks
// both, to tell a changed file from a stranger's. It is what
// ssh-keygen -Y check-novalidate answers.
//
// The errors are [ErrSignatureFormat], [ErrWrongNamespace] and
// [ErrBadSignature].
func Claimed(message, sig []byte, namespace string) (fingerprint string, err error) {
	s, err := unarmor(sig)
	if err != nil {
		return "", err
	}
	if s.Namespace != namespace {
		return "", fmt.Errorf("%w: the signature is for %q, not for %q: it belongs to another kind of file", ErrWrongNamespace, s.Namespace, namespace)
	}
	fingerprint = ssh.FingerprintSHA256(s.PublicKey)
	if err := sshsig.Verify(bytes.NewReader(message), s, s.PublicKey, sshsig.HashSHA512, namespace); err != nil {
		return fingerprint, fmt.Errorf("%w: key %s did not sign these bytes: the file or its signature was changed, or they do not belong together", ErrBadSignature, fingerprint)
	}
	return fingerprint, nil
}
