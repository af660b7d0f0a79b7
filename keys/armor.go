package keys

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// MaxSignature is the largest signature file that is looked at. One of an RSA
// key of 8192 bits takes 3 KiB; the size of the file is a stranger's word.
const MaxSignature = 16 << 10

const (
	armorBegin = "-----BEGIN SSH SIGNATURE-----\n"
	armorEnd   = "-----END SSH SIGNATURE-----\n"
	// maxArmorLine: ssh-keygen writes lines of 70, the PEM format has 64.
	maxArmorLine = 76
)

// ErrSignatureFormat: the signature file is not what ssh-keygen -Y sign
// writes.
var ErrSignatureFormat = errors.New("malformed signature file")

// unarmor reads an armored signature, and accepts nothing else: the begin
// line first, lines of base64 that are all of one length but the last, the
// end line, nothing after it. encoding/pem, which sshsig uses, would also take
// text before the armor, headers and CR LF, and so a file that shows the
// reader something else than what is checked; ssh-keygen takes text after it.
func unarmor(data []byte) (*sshsig.Signature, error) {
	if len(data) > MaxSignature {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrSignatureFormat, len(data), MaxSignature)
	}
	body, ok := bytes.CutPrefix(data, []byte(armorBegin))
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrSignatureFormat, armorBegin)
	}
	body, ok = bytes.CutSuffix(body, []byte(armorEnd))
	if !ok {
		return nil, fmt.Errorf("%w: it does not end with %q", ErrSignatureFormat, armorEnd)
	}
	text, err := joinLines(body)
	if err != nil {
		return nil, err
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignatureFormat, err)
	}
	return parseBlob(blob)
}

func joinLines(body []byte) (string, error) {
	lines := bytes.SplitAfter(body, []byte("\n"))
	if n := len(lines); n < 2 || len(lines[n-1]) != 0 {
		return "", fmt.Errorf("%w: its last line is cut", ErrSignatureFormat)
	}
	lines = lines[:len(lines)-1]
	var text []byte
	for i, line := range lines {
		line = bytes.TrimSuffix(line, []byte("\n"))
		wrong := len(line) == 0 || len(line) > maxArmorLine || len(line)+1 > len(lines[0]) ||
			(i < len(lines)-1 && len(line)+1 != len(lines[0]))
		// The decoder would pass over CR.
		if wrong || bytes.ContainsAny(line, "\r") {
			return "", fmt.Errorf("%w: line %d is not a line of base64", ErrSignatureFormat, i+2)
		}
		text = append(text, line...)
	}
	return string(text), nil
}

// parseBlob reads the blob and demands that it encodes to the same bytes
// again: the reserved field and whatever stands behind the last field are not
// signed, so that a stranger could write there (PROTOCOL.sshsig, "Blob
// format").
func parseBlob(blob []byte) (*sshsig.Signature, error) {
	sig, err := sshsig.ParseSignature(blob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignatureFormat, err)
	}
	if !bytes.Equal(sig.Marshal(), blob) {
		return nil, fmt.Errorf("%w: it holds bytes that nobody signed", ErrSignatureFormat)
	}
	if err := checkRest(sig); err != nil {
		return nil, err
	}
	if sig.HashAlgorithm != sshsig.HashSHA512 {
		return nil, fmt.Errorf("%w: hash %q instead of sha512; sign with: ssh-keygen -Y sign -O hashalg=sha512", ErrSignatureFormat, sig.HashAlgorithm)
	}
	want := sig.PublicKey.Type()
	if want == ssh.KeyAlgoRSA {
		want = ssh.KeyAlgoRSASHA512
	}
	if sig.Signature.Format != want {
		return nil, fmt.Errorf("%w: algorithm %q for a key of type %s", ErrSignatureFormat, sig.Signature.Format, sig.PublicKey.Type())
	}
	return sig, nil
}

// userPresent says in a token's signature that somebody has touched it
// (PROTOCOL.u2f, "SSH U2F signatures").
const userPresent = 0x01

// checkRest looks at what follows the signature: nothing, but with a FIDO2
// token its flags and counter, which are signed. Nobody touched the token for
// a signature without the flag of presence.
func checkRest(sig *sshsig.Signature) error {
	rest := sig.Signature.Rest
	switch sig.PublicKey.Type() {
	case ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		if len(rest) != 5 {
			return fmt.Errorf("%w: a token's signature ends with %d bytes, not with its flags and counter", ErrSignatureFormat, len(rest))
		}
		if rest[0]&userPresent == 0 {
			return fmt.Errorf("%w: nobody touched the token that signed", ErrSignatureFormat)
		}
		return nil
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: it holds bytes that nobody signed", ErrSignatureFormat)
	}
	return nil
}
