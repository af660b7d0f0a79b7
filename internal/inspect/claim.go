package inspect

import (
	"encoding/binary"
	"encoding/pem"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"caisseauto/keys"
	"caisseauto/manifest"
)

// claimedTrust makes a list of one key out of a signature: the key that it
// brings along, for the principal that may have signed. Who has no list of
// trusted keys can so still have everything else checked: that the bytes are
// those which were signed, in their namespace, in the one form that they can
// have. It says nothing about who signed, and [Batch.Trusted] is false.
//
// It stands here, and not in package keys, so that nobody who has to know who
// signed comes upon it: package manifest opens nothing without a trust, and
// this is the one place where that is made out of the signature itself.
func claimedTrust(sig []byte, principal, namespace string) (*manifest.Trust, error) {
	block, _ := pem.Decode(sig)
	if block == nil {
		return nil, errClaim
	}
	pub, err := claimedKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	line := keys.AllowedLine([]string{principal}, []string{namespace}, pub, "")
	return keys.ParseAllowedSigners("the key in the signature itself", []byte(line+"\n"))
}

var errClaim = errors.New("the signature names no key")

// claimedKey reads the key out of a blob (PROTOCOL.sshsig, "Blob format":
// "SSHSIG", a version, the key as a string), which [keys.Claimed] has found to
// be one.
func claimedKey(blob []byte) (ssh.PublicKey, error) {
	const magic, version = "SSHSIG", 4
	if len(blob) < len(magic)+version+4 {
		return nil, errClaim
	}
	rest := blob[len(magic)+version:]
	n := binary.BigEndian.Uint32(rest)
	if uint64(n) > uint64(len(rest)-4) {
		return nil, errClaim
	}
	return ssh.ParsePublicKey(rest[4 : 4+n])
}

// claimedSigner returns the principal that a manifest names, or "". It is only
// what the list of one key is made for: whether it may sign the stream,
// manifest.Open decides.
func claimedSigner(doc []byte) string {
	for line := range strings.Lines(string(doc)) {
		if s, ok := strings.CutPrefix(line, `  "signer": "`); ok {
			if s = strings.TrimSuffix(s, "\",\n"); keys.ValidPrincipal(s) {
				return s
			}
		}
	}
	return ""
}

// anyPrincipal is one that may sign the stream. Heads name no signer.
func anyPrincipal(stream string) string {
	dossier, rest, _ := strings.Cut(strings.ToLower(stream), "/")
	switch till, up := strings.CutPrefix(rest, "up/"); {
	case up:
		return "till-" + till + "@" + dossier
	case rest == "packages":
		return "release@" + dossier
	}
	return "server@" + dossier
}
