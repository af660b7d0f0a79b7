package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Why a signature was refused. The error text says more: the fingerprint, the
// namespaces, the file of trusted keys.
var (
	// ErrUnknownKey: allowed_signers does not list the key.
	ErrUnknownKey = errors.New("unknown key")
	// ErrWrongNamespace: the signature was made for another kind of
	// statement, or allowed_signers does not let the key sign this kind.
	ErrWrongNamespace = errors.New("wrong namespace")
	// ErrBadSignature: the key is known, but it did not sign these bytes.
	ErrBadSignature = errors.New("bad signature")
)

// maxTrustFile: 100 tills take 15 KB.
const maxTrustFile = 1 << 20

// Trust is a list of keys and of what each may sign, for whom.
type Trust struct {
	name    string
	text    []byte // as it was read
	entries []entry
	blocks  []*Block
	endings []ending
}

// An entry is one line of allowed_signers.
type entry struct {
	line       int
	principals []string
	namespaces []string // nil: all
	key        ssh.PublicKey
	blob       []byte
	dossier    string // whose trust documents wrote the line; "": written by hand
}

// LoadTrust reads an allowed_signers file; see [ParseAllowedSigners]. A file
// that is not there is fs.ErrNotExist; one that every account can change is
// [ErrPermission].
func LoadTrust(path string) (*Trust, error) {
	data, err := readFile(path, maxTrustFile, checkTrustMode)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("trusted keys: %w; ask the server's operator for its allowed_signers file", err)
	}
	if err != nil {
		return nil, fmt.Errorf("trusted keys: %w", err)
	}
	return ParseAllowedSigners(path, data)
}

// Verify checks that sig, an armored SSHSIG, is the signature of a trusted
// key over message in namespace, and returns the principals that the key
// stands for there, sorted. The key is always the one from the trust: a
// signature brings along whatever key its maker liked.
//
// The errors are [ErrSignatureFormat], [ErrWrongNamespace], [ErrUnknownKey]
// and [ErrBadSignature].
//
// Whether the key still signs, or did at that number, is asked of the
// statement's content: see [Trust.Batch] and [Trust.Current], and Identify for
// the fingerprint that they take.
func (t *Trust) Verify(message, sig []byte, namespace string) (principals []string, err error) {
	s, err := t.Identify(message, sig, namespace)
	return s.Principals, err
}

// Signed says who has signed.
type Signed struct {
	Principals  []string // for which the key stands in the namespace, sorted
	Fingerprint string   // of the key, SHA256:…
}

// Identify is [Trust.Verify] for those who have to know the key as well.
func (t *Trust) Identify(message, sig []byte, namespace string) (Signed, error) {
	s, err := unarmor(sig)
	if err != nil {
		return Signed{}, err
	}
	if s.Namespace != namespace {
		return Signed{}, fmt.Errorf("%w: the signature is for %q, not for %q: it belongs to another kind of file", ErrWrongNamespace, s.Namespace, namespace)
	}
	key, principals, err := t.find(s.PublicKey, namespace)
	if err != nil {
		return Signed{}, err
	}
	fingerprint := ssh.FingerprintSHA256(key)
	if err := sshsig.Verify(bytes.NewReader(message), s, key, sshsig.HashSHA512, namespace); err != nil {
		return Signed{}, fmt.Errorf("%w: key %s (%s) did not sign these bytes: the file or its signature was changed, or they do not belong together",
			ErrBadSignature, fingerprint, strings.Join(principals, ", "))
	}
	return Signed{principals, fingerprint}, nil
}

// find returns the trusted key that equals claimed, and its principals for
// namespace over all lines that list it.
func (t *Trust) find(claimed ssh.PublicKey, namespace string) (key ssh.PublicKey, principals []string, err error) {
	blob := claimed.Marshal()
	known := 0
	for _, e := range t.entries {
		if !bytes.Equal(e.blob, blob) {
			continue
		}
		known = e.line
		if e.namespaces == nil || slices.Contains(e.namespaces, namespace) {
			key, principals = e.key, append(principals, e.principals...)
		}
	}
	fingerprint := ssh.FingerprintSHA256(claimed)
	switch {
	case known == 0:
		return nil, nil, fmt.Errorf("%w: %s is not listed in %s; if its owner confirms that fingerprint, add the key there, else somebody else signed", ErrUnknownKey, fingerprint, t.name)
	case key == nil:
		return nil, nil, fmt.Errorf("%w: %s line %d does not let %s sign for %s", ErrWrongNamespace, t.name, known, fingerprint, namespace)
	}
	slices.Sort(principals)
	return key, slices.Compact(principals), nil
}

// Owners returns the principals whose key it is, over all lines, sorted.
func (t *Trust) Owners(pub ssh.PublicKey) []string {
	blob := pub.Marshal()
	var list []string
	for _, e := range t.entries {
		if bytes.Equal(e.blob, blob) {
			list = append(list, e.principals...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Principals returns those who have a key that may sign in namespace, sorted.
func (t *Trust) Principals(namespace string) []string {
	var list []string
	for _, e := range t.entries {
		if e.namespaces == nil || slices.Contains(e.namespaces, namespace) {
			list = append(list, e.principals...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
