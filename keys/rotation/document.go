package rotation

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"caisseauto/keys"
)

// What stands in the field "format".
const (
	Format      = "caisseauto/trust/1"
	TillsFormat = "caisseauto/tills/1"
)

// Limits on what a stranger can make a reader hold in memory.
const (
	MaxDocument = 1 << 20 // 4,000 tills
	MaxRoots    = 16
	MaxKeys     = 10_000
)

// ErrRefused: a trust document or a list of tills is not what it must be, and
// nobody is trusted by it. Exit code 65.
var ErrRefused = errors.New("refused")

// A Refusal says which document was refused, and by which rule of SPEC.md. It
// wraps [ErrRefused].
type Refusal struct {
	File   string
	Rule   string // T1 to T13
	Detail string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: refused (rule %s): %s", r.File, r.Rule, r.Detail)
}

// Unwrap makes errors.Is(err, ErrRefused) hold.
func (r *Refusal) Unwrap() error { return ErrRefused }

func refuse(rule, format string, args ...any) *Refusal {
	return &Refusal{Rule: rule, Detail: fmt.Sprintf(format, args...)}
}

// in names the file. It is an error from here on: a nil Refusal in an error
// would not be nil.
func (r *Refusal) in(file string) error {
	r.File = file
	return r
}

// A Document says who the roots of a dossier's trust are, and whom they trust
// as servers and release managers. Its bytes are signed by the roots, each in a
// file of its own; see [Name] and [SignatureName].
type Document struct {
	Format    string       `json:"format"`
	Dossier   string       `json:"dossier"`
	Version   int64        `json:"version"`
	Previous  string       `json:"previous"` // digest of the version before; zeros for the first
	Created   time.Time    `json:"created"`
	Threshold int64        `json:"threshold"` // so many of Roots have to sign
	Roots     []Root       `json:"roots"`
	Keys      []Grant      `json:"keys"`
	Retired   []keys.Limit `json:"retired"`
	Revoked   []keys.Limit `json:"revoked"`
}

// A Root is a key that is kept off line and signs trust documents.
type Root struct {
	Principal string `json:"principal"` // root-1@acme
	Key       string `json:"key"`       // type and base64, as in a .pub file
}

// A Grant lets a key sign some kinds of statements in a principal's name.
type Grant struct {
	Principal  string   `json:"principal"`
	Namespaces []string `json:"namespaces"`
	Key        string   `json:"key"`
}

// A TillList says which tills a dossier has. The server signs it: a till is
// added without a visit to the roots.
type TillList struct {
	Format   string       `json:"format"`
	Dossier  string       `json:"dossier"`
	Version  int64        `json:"version"`
	Previous string       `json:"previous"` // digest of the list before; zeros for the first
	Created  time.Time    `json:"created"`
	Signer   string       `json:"signer"` // server@acme
	Keys     []Grant      `json:"keys"`
	Retired  []keys.Limit `json:"retired"`
	Revoked  []keys.Limit `json:"revoked"`
}

// NoPrevious stands in previous of a first version.
func NoPrevious() string { return strings.Repeat("0", 64) }

// Name returns the file name of a document: 0000000003.json.
func Name(version int64) string { return fmt.Sprintf("%010d.json", version) }

// SignatureName returns the name of the file with a root's signature under a
// document: 0000000003.json.root-1.sig for root-1@acme.
func SignatureName(document, principal string) string {
	role, _, _ := strings.Cut(principal, "@")
	return document + "." + role + ".sig"
}

// TillsName returns the file name of a list of tills: tills-0000000007.json. Its
// signature has ".sig" behind it.
func TillsName(version int64) string { return "tills-" + Name(version) }

// Encode returns the one encoding of d, which the roots sign. It refuses what a
// reader would refuse.
func (d *Document) Encode() ([]byte, error) {
	if r := d.check(); r != nil {
		return nil, r.in(Name(d.Version))
	}
	return keys.EncodeStatement(d.filled())
}

// Parse reads a document and verifies nothing: who drafts or signs one looks at
// it so. A reader goes from version to version with [Advance].
func Parse(name string, doc []byte) (*Document, error) {
	d, r := parse(doc)
	if r != nil {
		return nil, r.in(name)
	}
	return d, nil
}

func parse(doc []byte) (*Document, *Refusal) {
	if len(doc) > MaxDocument {
		return nil, refuse("T1", "%d bytes, more than the %d that a reader takes", len(doc), MaxDocument)
	}
	var d Document
	if err := keys.DecodeStatement(doc, &d, func() ([]byte, error) { return keys.EncodeStatement(d.filled()) }); err != nil {
		return nil, refuse("T1", "%v", err)
	}
	return &d, d.check()
}

// Encode returns the one encoding of l, which a server signs.
func (l *TillList) Encode() ([]byte, error) {
	if r := l.check(); r != nil {
		return nil, r.in(TillsName(l.Version))
	}
	doc, err := keys.EncodeStatement(l.filled())
	if err == nil && len(doc) > MaxDocument {
		return nil, refuse("T1", "%d bytes, more than %d: too many tills for one dossier", len(doc), MaxDocument).in(TillsName(l.Version))
	}
	return doc, err
}

// ParseTills reads a list of tills and verifies nothing. A reader takes one
// over with [Enrol].
func ParseTills(name string, doc []byte) (*TillList, error) {
	l, r := parseTills(doc)
	if r != nil {
		return nil, r.in(name)
	}
	return l, nil
}

func parseTills(doc []byte) (*TillList, *Refusal) {
	if len(doc) > MaxDocument {
		return nil, refuse("T1", "%d bytes, more than the %d that a reader takes", len(doc), MaxDocument)
	}
	var l TillList
	if err := keys.DecodeStatement(doc, &l, func() ([]byte, error) { return keys.EncodeStatement(l.filled()) }); err != nil {
		return nil, refuse("T1", "%v", err)
	}
	return &l, l.check()
}

// filled has empty lists for missing ones: the encoding has no null.
func (d *Document) filled() *Document {
	c := *d
	c.Roots = append([]Root{}, d.Roots...)
	c.Keys = filledGrants(d.Keys)
	c.Retired, c.Revoked = append([]keys.Limit{}, d.Retired...), append([]keys.Limit{}, d.Revoked...)
	return &c
}

func (l *TillList) filled() *TillList {
	c := *l
	c.Keys = filledGrants(l.Keys)
	c.Retired, c.Revoked = append([]keys.Limit{}, l.Retired...), append([]keys.Limit{}, l.Revoked...)
	return &c
}

func filledGrants(list []Grant) []Grant {
	c := append([]Grant{}, list...)
	for i := range c {
		c[i].Namespaces = append([]string{}, c[i].Namespaces...)
	}
	return c
}

// Fingerprint returns the fingerprint of a key as it stands in a document, ""
// when it is none.
func Fingerprint(key string) string {
	pub, err := keys.ParsePublic(key)
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(pub)
}

func line(principal string, namespaces []string, key string) (keys.Line, error) {
	pub, err := keys.ParsePublic(key)
	return keys.Line{Principal: principal, Namespaces: namespaces, Key: pub}, err
}
