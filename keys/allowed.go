package keys

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
)

var (
	// nameForm is the form of a principal and of a namespace. Lower case
	// only, so that no two principals differ in case alone.
	nameForm = regexp.MustCompile(`^[a-z0-9._-]{1,64}@[a-z0-9._-]{1,64}$`)
	keyTypes = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoRSA, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256}
)

// ValidPrincipal reports whether s is a name that allowed_signers may hold,
// for example server@acme or till-017@acme.
func ValidPrincipal(s string) bool { return nameForm.MatchString(s) }

// ParseAllowedSigners reads the strict subset of the format of ssh-keygen(1),
// "ALLOWED SIGNERS":
//
//	principal[,principal] [namespaces="a,b"] keytype base64 [comment]
//
// with comment lines and empty lines, and the lines of a [Block], which are
// comments to ssh-keygen. ssh-keygen passes over a line that it
// does not understand; here one such line refuses the whole file, because
// the line may be the one that was meant to narrow a key's power. So does
// everything of ssh-keygen's format that is not above (wildcards, authorities,
// times), and a weak key. The error names the file, the line and what to do.
//
// Whatever this accepts means the same to ssh-keygen -Y verify, but for keys
// that a block retires or revokes: ssh-keygen knows no numbers of batches.
func ParseAllowedSigners(name string, data []byte) (*Trust, error) {
	if len(data) > maxTrustFile {
		return nil, fmt.Errorf("%s: larger than %d bytes: not a list of keys", name, maxTrustFile)
	}
	t := &Trust{name: name, text: bytes.Clone(data)}
	number := 0
	var b blocks
	for line := range bytes.Lines(data) {
		number++
		e, err := b.line(string(bytes.TrimSuffix(line, []byte("\n"))))
		if err != nil {
			return nil, fmt.Errorf("%s line %d: %w; no key of this file is used until that line is put right", name, number, err)
		}
		if e != nil {
			e.line = number
			t.entries = append(t.entries, *e)
		}
	}
	if err := b.end(); err != nil {
		return nil, fmt.Errorf("%s: %w; no key of this file is used until it is put right", name, err)
	}
	t.blocks = b.all
	for _, k := range b.all {
		t.endings = append(t.endings, k.endings()...)
	}
	return t, nil
}

// line reads one line: a key, or what a trust document says of keys.
func (p *blocks) line(line string) (*entry, error) {
	if strings.HasPrefix(line, directive) {
		if err := checkText(line); err != nil {
			return nil, err
		}
		return nil, p.directive(line)
	}
	e, err := parseLine(line)
	if e == nil || err != nil {
		return nil, err
	}
	return e, p.entry(e)
}

// AllowedLine writes one line of allowed_signers, without the line feed. No
// namespaces means all of them.
func AllowedLine(principals, namespaces []string, pub ssh.PublicKey, comment string) string {
	line := strings.Join(principals, ",") + " "
	if len(namespaces) > 0 {
		line += `namespaces="` + strings.Join(namespaces, ",") + `" `
	}
	return line + AuthorizedLine(pub, comment)
}

// parseLine returns nil for a line that holds nothing.
func parseLine(line string) (*entry, error) {
	if err := checkText(line); err != nil {
		return nil, err
	}
	fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(fields) == 0 || fields[0][0] == '#' {
		return nil, nil
	}
	e := &entry{}
	var err error
	if e.principals, err = parsePrincipals(fields[0]); err != nil {
		return nil, err
	}
	fields = fields[1:]
	if len(fields) > 0 && !slices.Contains(keyTypes, fields[0]) && !isOtherKeyType(fields[0]) {
		if e.namespaces, err = parseOption(fields[0]); err != nil {
			return nil, err
		}
		fields = fields[1:]
	}
	if len(fields) < 2 {
		return nil, errors.New("the key is missing: after the principal stand the key's type and its base64, as in the .pub file")
	}
	e.key, err = parseKey(fields[0], fields[1])
	if err != nil {
		return nil, err
	}
	e.blob = e.key.Marshal()
	return e, nil
}

// checkText keeps out what an editor shows otherwise than it is.
func checkText(line string) error {
	if strings.HasSuffix(line, "\r") {
		return errors.New("the line ends with CR LF; save the file with LF (sed -i 's/\\r$//' FILE)")
	}
	if !utf8.ValidString(line) {
		return errors.New("the line is not UTF-8 text; save the file as UTF-8")
	}
	for _, r := range line {
		if (r < ' ' && r != '\t') || r == 0x7f || r == 0xfeff {
			return fmt.Errorf("the line holds the control character %U; type it again", r)
		}
	}
	return nil
}

func parsePrincipals(field string) ([]string, error) {
	list := strings.Split(field, ",")
	for i, p := range list {
		switch {
		case nameForm.MatchString(p):
		case strings.ContainsAny(p, "*?!"):
			return nil, fmt.Errorf("principal %q: wildcards are not supported, name every principal", p)
		case nameForm.MatchString(strings.ToLower(p)):
			return nil, fmt.Errorf("principal %q: write it in lower case, %s", p, strings.ToLower(p))
		default:
			return nil, fmt.Errorf("%q is not a principal such as server@acme or till-017@acme", p)
		}
		if slices.Contains(list[:i], p) {
			return nil, fmt.Errorf("principal %s stands there twice", p)
		}
	}
	return list, nil
}

// parseOption reads namespaces="a,b", the one option that is supported.
func parseOption(field string) ([]string, error) {
	value, ok := strings.CutPrefix(field, `namespaces="`)
	value, closed := strings.CutSuffix(value, `"`)
	if ok && strings.Contains(value, `namespaces=`) {
		return nil, errors.New("option namespaces stands there twice; join both lists into one")
	}
	if !ok || !closed || strings.Contains(value, `"`) {
		return nil, fmt.Errorf(`option %s is not supported: only namespaces="a,b" (without spaces) may stand between the principals and the key`, field)
	}
	list := strings.Split(value, ",")
	for i, n := range list {
		if !nameForm.MatchString(n) {
			return nil, fmt.Errorf("%q is not a namespace such as %s (no wildcards, no spaces)", n, NamespaceManifest)
		}
		if slices.Contains(list[:i], n) {
			return nil, fmt.Errorf("namespace %s stands there twice", n)
		}
	}
	return list, nil
}

// isOtherKeyType recognises key types that are refused, to say so instead of
// calling them an unknown option.
func isOtherKeyType(field string) bool {
	for _, prefix := range []string{"ssh-", "ecdsa-sha2-", "sk-", "rsa-sha2-", "webauthn-"} {
		if strings.HasPrefix(field, prefix) {
			return true
		}
	}
	return false
}

// ParsePublic reads a public key as a .pub file has it, its type and base64
// with one blank between them and nothing else. A key of a kind or size that
// is not supported is refused.
func ParsePublic(text string) (ssh.PublicKey, error) {
	kind, blob, ok := strings.Cut(text, " ")
	if !ok {
		return nil, errors.New("not the type of a key and its base64")
	}
	return parseKey(kind, blob)
}

func parseKey(kind, text string) (ssh.PublicKey, error) {
	if !slices.Contains(keyTypes, kind) {
		return nil, fmt.Errorf("keys of type %s are not supported; make one with: ssh-keygen -t ed25519 (or -t ecdsa -b 256)", kind)
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("the key is not base64: %w; copy the line from the .pub file again", err)
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return nil, fmt.Errorf("the key is damaged: %w; copy the line from the .pub file again", err)
	}
	if key.Type() != kind || !bytes.Equal(key.Marshal(), blob) {
		return nil, fmt.Errorf("the key is not the %s key that the line says; copy the line from the .pub file again", kind)
	}
	return key, checkKey(key)
}
