package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"caisseauto/keys"
)

// The endings of a batch's three files, in the order of publication, and the
// names of the stream's head.
const (
	ArchiveExt   = ".tar.zst"
	SignatureExt = ".manifest.json.sig"
	ManifestExt  = ".manifest.json" // its appearance is the commit

	HeadName          = "HEAD.json"
	HeadSignatureName = "HEAD.json.sig"
)

// MaxSequence is the largest number that fits a file name's 10 digits: a
// batch a second for three centuries.
const MaxSequence = 9_999_999_999

// FileName returns the name of a batch's file, for example
// "0000000042.manifest.json". ext is one of the Ext constants.
func FileName(sequence int64, ext string) string {
	return fmt.Sprintf("%010d%s", sequence, ext)
}

// ParseFileName is the reverse of [FileName]. ok is false for any name that
// FileName does not make of a sequence from 1 to [MaxSequence].
func ParseFileName(name string) (sequence int64, ext string, ok bool) {
	if len(name) < 10 {
		return 0, "", false
	}
	ext = name[10:]
	if ext != ArchiveExt && ext != SignatureExt && ext != ManifestExt {
		return 0, "", false
	}
	for _, c := range []byte(name[:10]) {
		if c < '0' || c > '9' {
			return 0, "", false
		}
	}
	sequence, err := strconv.ParseInt(name[:10], 10, 64)
	if err != nil || sequence < 1 {
		return 0, "", false
	}
	return sequence, ext, true
}

// ValidDossier reports whether code can be a dossier's code or a till's
// number: [A-Za-z0-9_-]{1,32}.
func ValidDossier(code string) bool {
	if len(code) < 1 || len(code) > 32 {
		return false
	}
	for _, c := range []byte(code) {
		if !isLower(c) && !(c >= 'A' && c <= 'Z') {
			return false
		}
	}
	return true
}

func isLower(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// ValidTill reports whether number can be a till's number. It has the grammar
// of a dossier's code.
func ValidTill(number string) bool { return ValidDossier(number) }

// StreamDown names the stream from the server to the dossier's tills.
func StreamDown(dossier string) string { return dossier + "/down" }

// StreamUp names the stream from one till to the server.
func StreamUp(dossier, till string) string { return dossier + "/up/" + till }

// StreamPackages names the stream of software packages.
func StreamPackages(dossier string) string { return dossier + "/packages" }

// dossierOf returns the dossier's code in a stream's name.
func dossierOf(stream string) string {
	dossier, _, _ := strings.Cut(stream, "/")
	return dossier
}

// ReceiptName returns the name of a till's receipt in the folder receipts,
// for example "017.json"; its signature is that with ".sig".
func ReceiptName(till string) string { return till + ".json" }

// ValidStream reports whether s is a stream's name, which is also the path of
// its folder on the drop.
func ValidStream(s string) bool {
	dossier, rest, _ := strings.Cut(s, "/")
	if !ValidDossier(dossier) {
		return false
	}
	till, up := strings.CutPrefix(rest, "up/")
	return rest == "down" || rest == "packages" || up && ValidTill(till)
}

// MaySign reports whether principal may sign statements of the stream: a
// server the stream down, a release manager the packages, and a till its own
// stream up, alone.
func MaySign(stream, principal string) bool {
	if !ValidStream(stream) || !keys.ValidPrincipal(principal) {
		return false
	}
	role, _, _ := strings.Cut(principal, "@")
	dossier, rest, _ := strings.Cut(stream, "/")
	switch rest {
	case "down":
		return role == "server"
	case "packages":
		return role == "release"
	}
	till := strings.TrimPrefix(rest, "up/")
	return principal == strings.ToLower("till-"+till+"@"+dossier)
}

// maxEncoded keeps "data/" + name + ".0001.ndjson" within the 100 bytes that
// a USTAR header has for a name (POSIX.1-1988, pax(1)).
const maxEncoded = 80

// EncodeTableName returns a table's name as it stands in member names: bytes
// outside [a-z0-9_-] become %xx in lower-case hex; when that is longer than
// 80 bytes, "%h" and the first 32 hex digits of the SHA-256 of name. No two
// tables that a manifest can list get the same one.
func EncodeTableName(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if isLower(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	if b.Len() <= maxEncoded {
		return b.String()
	}
	sum := sha256.Sum256([]byte(name))
	return "%h" + hex.EncodeToString(sum[:16])
}

// MaxMembersPerTable is what a member name's four digits can count: 78 GiB of
// one table in one batch.
const MaxMembersPerTable = 9999

// MemberName returns the name of a table's member number n, counted from 1
// over all operations of the batch.
func MemberName(table string, n int) string {
	return fmt.Sprintf("data/%s.%04d.ndjson", EncodeTableName(table), n)
}
