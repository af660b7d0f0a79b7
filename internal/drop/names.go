package drop

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// Limits on what a reader takes from a folder before any signature has been
// checked. A writer keeps them too, so that it never publishes what nobody
// will read.
const (
	MaxEntries   = 100_000  // names in one folder, strangers' included: an endless listing must end
	MaxHead      = 16 << 10 // a head is under 1 KiB
	MaxSignature = 16 << 10 // an armored SSHSIG with an RSA-4096 key is under 3 KiB
	MaxManifest  = 4 << 20  // a member's line is about 200 bytes: 20,000 members of 8 MiB
	MaxReceipt   = 4 << 20  // names the rows in quarantine
)

// The grammar of a drop, see SPEC.md:
//
//	path     = dossier "/" ( stream "/" file | "receipts/" number ".json" [ ".sig" ] | "trust/" document )
//	stream   = "down" | "up/" number | "packages"
//	file     = sequence ( ".tar.zst" | ".manifest.json" | ".manifest.json.sig" ) | "HEAD.json" [ ".sig" ]
//	document = sequence ".json" [ ".root-" name ".sig" ] | "tills-" sequence ".json" [ ".sig" ] | "allowed_signers"
//	sequence = 10 digits, not all zero
//	dossier, number = [A-Za-z0-9_-]{1,32}
const word = `[A-Za-z0-9_-]{1,32}`

var (
	batchPattern   = regexp.MustCompile(`^[0-9]{10}\.(tar\.zst|manifest\.json|manifest\.json\.sig)$`)
	headPattern    = regexp.MustCompile(`^HEAD\.json(\.sig)?$`)
	receiptPattern = regexp.MustCompile(`^` + word + `\.json(\.sig)?$`)
	trustPattern   = regexp.MustCompile(`^[0-9]{10}\.json(\.root-[a-z0-9]{1,16}\.sig)?$`)
	tillsPattern   = regexp.MustCompile(`^[0-9]{10}\.json(\.sig)?$`) // behind "tills-"
	streamPattern  = regexp.MustCompile(`^` + word + `/(down|up/` + word + `|packages)$`)
	wordPattern    = regexp.MustCompile(`^` + word + `$`)
	otherPattern   = regexp.MustCompile(`^` + word + `/(receipts|trust)$`)
)

// TrustedName is the file in trust/ that says in ssh-keygen's words what the
// signed documents beside it say.
const TrustedName = "allowed_signers"

// noSequence is the number no batch has: streams start at 1.
const noSequence = "0000000000"

// ValidName reports whether base is the name of a file of a stream: one of the
// three files of a batch, or a head or its signature. Anything else in a
// stream's folder is somebody else's. Names in receipts/ and trust/ have
// other patterns; see [ValidPath].
func ValidName(base string) bool {
	return headPattern.MatchString(base) || numbered(batchPattern, base)
}

// ValidDir reports whether dir is a folder of a drop that can hold files:
// a dossier's stream, its receipts or its trust documents.
func ValidDir(dir string) bool {
	return streamPattern.MatchString(dir) || otherPattern.MatchString(dir)
}

// ValidPath reports whether name is the path of a file of a drop: a folder
// that [ValidDir] accepts, and in it a name that belongs there. No path that
// was not checked so may be opened, on either side.
func ValidPath(name string) bool {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if streamPattern.MatchString(dir) {
		return ValidName(base)
	}
	if !otherPattern.MatchString(dir) {
		return false
	}
	if path.Base(dir) == "receipts" {
		return receiptPattern.MatchString(base)
	}
	if list, ok := strings.CutPrefix(base, "tills-"); ok {
		return numbered(tillsPattern, list)
	}
	return base == TrustedName || numbered(trustPattern, base)
}

// Replaceable reports whether name is the path of a file that its writer
// writes again under the same name: a head or a receipt, or the signature of
// one, or the list of keys among the trust documents. Every other file is
// immutable.
func Replaceable(name string) bool {
	if !ValidPath(name) {
		return false
	}
	dir, base := path.Split(name)
	return path.Base(dir) == "receipts" || headPattern.MatchString(base) || base == TrustedName
}

// Sequence returns the number of the batch that the file base belongs to, and
// whether base is the name of a batch's file at all.
func Sequence(base string) (int64, bool) {
	if !numbered(batchPattern, base) {
		return 0, false
	}
	n, err := strconv.ParseInt(base[:10], 10, 64)
	return n, err == nil
}

func numbered(pattern *regexp.Regexp, base string) bool {
	return pattern.MatchString(base) && base[:10] != noSequence
}

// CheckPut returns an error that wraps fs.ErrInvalid unless name is the path
// of an immutable file, for [Drop.Put].
func CheckPut(name string) error {
	if err := CheckPath(name); err != nil {
		return err
	}
	if Replaceable(name) {
		return fmt.Errorf("%s: heads, receipts and lists of keys are replaced, not put: %w", name, fs.ErrInvalid)
	}
	return nil
}

// CheckReplace returns an error unless name is the path of a head, receipt or
// list of keys and data has a size that readers accept, for [Drop.Replace]. It wraps
// fs.ErrInvalid or ErrTooLarge.
func CheckReplace(name string, data []byte) error {
	if err := CheckPath(name); err != nil {
		return err
	}
	if !Replaceable(name) {
		return fmt.Errorf("%s is never replaced, only heads, receipts and lists of keys are: %w", name, fs.ErrInvalid)
	}
	if most := maxSize(name); int64(len(data)) > most {
		return fmt.Errorf("%s: %d bytes, readers accept %d: %w", name, len(data), most, ErrTooLarge)
	}
	return nil
}

// CheckPath returns an error that wraps fs.ErrInvalid unless [ValidPath].
func CheckPath(name string) error {
	if !ValidPath(name) {
		return fmt.Errorf("%q is not the path of a file of a drop: %w", name, fs.ErrInvalid)
	}
	return nil
}

// CheckDir returns an error that wraps fs.ErrInvalid unless [ValidDir].
func CheckDir(dir string) error {
	if !ValidDir(dir) {
		return fmt.Errorf("%q is not a folder of a drop: %w", dir, fs.ErrInvalid)
	}
	return nil
}

// CheckDossier returns an error that wraps fs.ErrInvalid unless code can be
// the name of a dossier's folder.
func CheckDossier(code string) error {
	if !wordPattern.MatchString(code) {
		return fmt.Errorf("%q is not the code of a dossier: %w", code, fs.ErrInvalid)
	}
	return nil
}

// ValidTill reports whether base can be the name of a till's folder.
func ValidTill(base string) bool { return wordPattern.MatchString(base) }

// maxSize returns the size limit of the small files by their names.
func maxSize(name string) int64 {
	base := path.Base(name)
	switch {
	case strings.HasSuffix(base, ".sig"):
		return MaxSignature
	case path.Base(path.Dir(name)) == "receipts":
		return MaxReceipt
	case headPattern.MatchString(base):
		return MaxHead
	}
	return MaxManifest
}
