package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A Block is the part of allowed_signers that the signed trust documents of
// one dossier have written, and so what this machine remembers of them: which
// version it stands at, by number and digest, who the roots are and how many of
// them must sign the next one. Its own lines are comments to ssh-keygen:
//
//	#: trust ACME 3 2 <sha256>          version 3, 2 roots must sign, digest of trust/0000000003.json
//	root-1@acme namespaces="trust@caisseauto" ssh-ed25519 AAAA…
//	server@acme namespaces="manifest@caisseauto,…" ssh-ed25519 AAAA…
//	#: retired server@acme SHA256:… ACME/down 120
//	#: tills ACME 7 <sha256>            list 7 of tills, digest of trust/tills-0000000007.json
//	till-017@acme namespaces="tickets@caisseauto,head@caisseauto" ssh-ed25519 AAAA…
//	#: revoked till-017@acme SHA256:… ACME/up/017 33
//	#: end ACME
//
// Package caisseauto/keys/rotation goes from one version to the next.
type Block struct {
	Dossier   string
	Version   int64
	Threshold int64
	Digest    string // of the document, lower-case hex
	Roots     []Line
	Keys      []Line // of servers and release managers
	Retired   []Limit
	Revoked   []Limit

	TillsVersion int64 // 0: there is no list of tills yet
	TillsDigest  string
	Tills        []Line
	TillsRetired []Limit
	TillsRevoked []Limit
}

// A Line is a line of a block: one principal, what it signs, its key.
type Line struct {
	Principal  string
	Namespaces []string
	Key        ssh.PublicKey
}

// directive begins the lines of a block that are comments to ssh-keygen.
const directive = "#:"

var (
	dossierForm     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	digestForm      = regexp.MustCompile(`^[0-9a-f]{64}$`)
	limitStreamForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}/(down|packages|up/[A-Za-z0-9_-]{1,32})$`)
	fingerprintForm = regexp.MustCompile(`^SHA256:[A-Za-z0-9+/]{43}$`)
)

// MaxNumber is the highest number of a batch or of a document: ten digits.
const MaxNumber = 9999999999

// ValidDossier reports whether s can be the code of a dossier.
func ValidDossier(s string) bool { return dossierForm.MatchString(s) }

// ValidFingerprint reports whether s is what ssh-keygen -l prints for a key.
func ValidFingerprint(s string) bool {
	_, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimPrefix(s, "SHA256:"))
	return err == nil && fingerprintForm.MatchString(s)
}

// An open block while a file is read.
type blocks struct {
	all   []*Block
	now   *Block // nil: outside
	tills bool   // the part of the tills has begun
}

// directive reads one line that begins with "#:".
func (p *blocks) directive(line string) error {
	f := strings.Fields(strings.TrimPrefix(line, directive))
	if strings.Join(append([]string{directive}, f...), " ") != line {
		return fmt.Errorf("%q: what begins with %s is written by trust documents alone, with single blanks", line, directive)
	}
	if len(f) == 0 {
		return errors.New("an empty line of a trust document")
	}
	switch kind := f[0]; {
	case kind == "trust" && len(f) == 5:
		return p.begin(f[1], f[2], f[3], f[4])
	case p.now == nil:
		return fmt.Errorf("%s %s stands outside of what a trust document has written", directive, kind)
	case kind == "tills" && len(f) == 4:
		return p.beginTills(f[1], f[2], f[3])
	case (kind == "retired" || kind == "revoked") && len(f) == 5:
		return p.limit(kind == "revoked", f[1], f[2], f[3], f[4])
	case kind == "end" && len(f) == 2 && f[1] == p.now.Dossier:
		p.now, p.tills = nil, false
		return nil
	}
	return fmt.Errorf("%q is no line that a trust document writes", line)
}

func (p *blocks) begin(dossier, version, threshold, digest string) error {
	v, verr := number(version, 1)
	n, nerr := number(threshold, 1)
	switch {
	case p.now != nil:
		return fmt.Errorf("what the trust documents of %s have written does not end before those of %s", p.now.Dossier, dossier)
	case !ValidDossier(dossier) || verr != nil || nerr != nil || !digestForm.MatchString(digest):
		return errors.New("the line of the version of a trust document is damaged")
	}
	for _, b := range p.all {
		if strings.EqualFold(b.Dossier, dossier) {
			return fmt.Errorf("dossier %s stands there twice", dossier)
		}
	}
	p.now = &Block{Dossier: dossier, Version: v, Threshold: n, Digest: digest}
	p.all = append(p.all, p.now)
	return nil
}

func (p *blocks) beginTills(dossier, version, digest string) error {
	v, err := number(version, 1)
	if err != nil || p.tills || dossier != p.now.Dossier || !digestForm.MatchString(digest) {
		return errors.New("the line of the list of tills is damaged, or stands there twice")
	}
	p.tills, p.now.TillsVersion, p.now.TillsDigest = true, v, digest
	return nil
}

func (p *blocks) limit(revoked bool, principal, key, stream, sequence string) error {
	n, err := number(sequence, 0)
	if err != nil || !nameForm.MatchString(principal) || !ValidFingerprint(key) || !limitStreamForm.MatchString(stream) || !inDossier(stream, p.now.Dossier) {
		return errors.New("the line of a retired or revoked key is damaged")
	}
	list := &p.now.Retired
	switch {
	case p.tills && revoked:
		list = &p.now.TillsRevoked
	case p.tills:
		list = &p.now.TillsRetired
	case revoked:
		list = &p.now.Revoked
	}
	*list = append(*list, Limit{principal, key, stream, n})
	return nil
}

// entry notes a line of a key, which has to be written as documents write it.
func (p *blocks) entry(e *entry) error {
	if p.now == nil {
		return nil
	}
	e.dossier = p.now.Dossier
	if len(e.principals) != 1 || len(e.namespaces) == 0 {
		return errors.New("a trust document writes one principal to a line, and what it signs; whatever is added by hand stands outside")
	}
	l := Line{e.principals[0], e.namespaces, e.key}
	switch role, _, _ := strings.Cut(l.Principal, "@"); {
	case p.tills && strings.HasPrefix(role, "till-"):
		p.now.Tills = append(p.now.Tills, l)
	case !p.tills && strings.HasPrefix(role, "root-"):
		p.now.Roots = append(p.now.Roots, l)
	case !p.tills && (role == "server" || role == "release"):
		p.now.Keys = append(p.now.Keys, l)
	default:
		return fmt.Errorf("%s does not belong in this part of what a trust document writes", l.Principal)
	}
	return nil
}

func (p *blocks) end() error {
	if p.now != nil {
		return fmt.Errorf("what the trust documents of %s have written has no end: the file was cut", p.now.Dossier)
	}
	return nil
}

func number(s string, least int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > MaxNumber || strconv.FormatInt(n, 10) != s {
		return 0, errors.New("not a number")
	}
	return n, nil
}

// Text returns the block as it stands in allowed_signers, the one text for
// what it says.
func (b *Block) Text() []byte {
	var w bytes.Buffer
	fmt.Fprintf(&w, "%s trust %s %d %d %s\n", directive, b.Dossier, b.Version, b.Threshold, b.Digest)
	writeLines(&w, b.Roots)
	writeLines(&w, b.Keys)
	writeLimits(&w, "retired", b.Retired)
	writeLimits(&w, "revoked", b.Revoked)
	if b.TillsVersion > 0 {
		fmt.Fprintf(&w, "%s tills %s %d %s\n", directive, b.Dossier, b.TillsVersion, b.TillsDigest)
		writeLines(&w, b.Tills)
		writeLimits(&w, "retired", b.TillsRetired)
		writeLimits(&w, "revoked", b.TillsRevoked)
	}
	fmt.Fprintf(&w, "%s end %s\n", directive, b.Dossier)
	return w.Bytes()
}

func writeLines(w *bytes.Buffer, list []Line) {
	for _, l := range list {
		w.WriteString(AllowedLine([]string{l.Principal}, l.Namespaces, l.Key, "") + "\n")
	}
}

func writeLimits(w *bytes.Buffer, kind string, list []Limit) {
	for _, l := range list {
		fmt.Fprintf(w, "%s %s %s %s %s %d\n", directive, kind, l.Principal, l.Key, l.Stream, l.Sequence)
	}
}

// Block returns what the trust documents of a dossier have written, nil when
// there is nothing of them.
func (t *Trust) Block(dossier string) *Block {
	i := slices.IndexFunc(t.blocks, func(b *Block) bool { return b.Dossier == dossier })
	if i < 0 {
		return nil
	}
	c := *t.blocks[i]
	return &c
}

// Dossiers lists the dossiers of which trust documents are known.
func (t *Trust) Dossiers() []string {
	var list []string
	for _, b := range t.blocks {
		list = append(list, b.Dossier)
	}
	return list
}

// Text returns the file that the trust was read from, as a whole.
func (t *Trust) Text() []byte { return slices.Clone(t.text) }

// WithBlock returns the trust in which b stands in the place of the block of
// its dossier, or behind everything else where there was none. Every other
// line of the file stays as it is.
func (t *Trust) WithBlock(b *Block) (*Trust, error) {
	before, after := t.around(b.Dossier)
	if len(before) > 0 && before[len(before)-1] != '\n' {
		before = append(before, '\n')
	}
	return ParseAllowedSigners(t.name, slices.Concat(before, b.Text(), after))
}

// around returns the file before and behind the block of a dossier.
func (t *Trust) around(dossier string) (before, after []byte) {
	at, inside := 0, false
	end := directive + " end " + dossier + "\n"
	for line := range bytes.Lines(t.text) {
		switch {
		case bytes.HasPrefix(line, []byte(directive+" trust "+dossier+" ")):
			before, inside = slices.Clone(t.text[:at]), true
		case inside && (string(line) == end || string(line)+"\n" == end):
			return before, slices.Clone(t.text[at+len(line):])
		}
		at += len(line)
	}
	return slices.Clone(t.text), nil
}

// For returns what counts in a dossier: the lines that its own trust documents
// have written, and those that were written by hand. Where there are trust
// documents, the latter count for tills alone: who the server is, the roots
// say, and no line that somebody forgot in a file.
func (t *Trust) For(dossier string) *Trust {
	if len(t.blocks) == 0 {
		return t
	}
	own := t.Block(dossier) != nil
	c := *t
	c.entries = nil
	for _, e := range t.entries {
		switch {
		case e.dossier == dossier:
		case e.dossier != "":
			continue
		case own && slices.ContainsFunc(e.principals, isNoTill):
			continue
		}
		c.entries = append(c.entries, e)
	}
	return &c
}

func isNoTill(principal string) bool { return !strings.HasPrefix(principal, "till-") }

// Digest returns the SHA-256 of doc in lower-case hex.
func Digest(doc []byte) string { return fmt.Sprintf("%x", sha256.Sum256(doc)) }

// ByHand returns the keys of the lines that no trust document has written, one
// line for each principal.
func (t *Trust) ByHand() []Line {
	var list []Line
	for _, e := range t.entries {
		if e.dossier != "" {
			continue
		}
		for _, p := range e.principals {
			list = append(list, Line{p, e.namespaces, e.key})
		}
	}
	return list
}
