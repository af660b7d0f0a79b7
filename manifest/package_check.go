package manifest

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a package may be at most.
const (
	MaxRequires     = 64
	MaxNotes        = 4 << 10   // bytes
	MaxFileSize     = 8<<30 - 1 // bytes: what the 11 octal digits of a tar header hold
	MaxPackageSize  = 64 << 30  // bytes of all files
	MaxProbeSeconds = 600
	maxWord         = 64 // bytes of a product's name, of a version
	maxPlatform     = 16
	maxArguments    = 32
	maxArgument     = 1024
	maxFileName     = 256 // what fits a USTAR header, see CheckFileName
	maxDepth        = 32
)

// checkPackage holds what a package says against the rest of its manifest.
func checkPackage(m *Manifest) *Refusal {
	p := m.Package
	switch {
	case p == nil && m.Kind != KindPackage:
		return nil
	case p == nil || m.Kind != KindPackage:
		return refuse("K1", "what describes a package stands in manifests of kind package, and in each of them")
	case len(m.Tables) > 0 || len(m.Members) > 0:
		return refuse("K1", "a package has no tables, and its files are no members")
	case m.Unchanged || m.Integrated != 0 || len(m.Uploads) > 0 || len(m.Totals) > 0 || m.Applied != nil || m.Incarnation != "":
		return refuse("K1", "a package says what a batch of rows says")
	}
	for _, check := range []func(*Package) *Refusal{checkRelease, checkRequires, checkFiles, checkProbe} {
		if r := check(p); r != nil {
			return r
		}
	}
	return nil
}

func checkRelease(p *Package) *Refusal {
	switch {
	case !ValidProduct(p.Product):
		return refuse("K2", "%q cannot be a product's name", p.Product)
	case !ValidVersion(p.Version):
		return refuse("K2", "%q cannot be a version", p.Version)
	case !inRange(p.Release, maxInteger):
		return refuse("K2", "release %d is out of range", p.Release)
	case !validPlatform(p.OS) || !validPlatform(p.Arch):
		return refuse("K2", "os %q or arch %q is no name of a platform", p.OS, p.Arch)
	case !validNotes(p.Notes):
		return refuse("K2", "notes are longer than %d bytes or have control characters", MaxNotes)
	case p.Rollback != nil && (p.Rollback.To != p.Release || !inRange(p.Rollback.From, maxInteger) || p.Rollback.From <= p.Release):
		return refuse("K6", "a rollback leads from %d to %d, but this is release %d: it must lead from a newer one to this one", p.Rollback.From, p.Rollback.To, p.Release)
	}
	return nil
}

func checkRequires(p *Package) *Refusal {
	if len(p.Requires) > MaxRequires {
		return refuse("K3", "%d requirements, more than %d", len(p.Requires), MaxRequires)
	}
	for i, r := range p.Requires {
		switch {
		case !ValidProduct(r.Product) || !inRange(r.Release, maxInteger):
			return refuse("K3", "requirement %d, %q release %d, is none", i+1, r.Product, r.Release)
		case i > 0 && r.Product <= p.Requires[i-1].Product:
			return refuse("K3", "requirement %d, %s, stands there twice or out of order", i+1, r.Product)
		case r.Product == p.Product && r.Release >= p.Release:
			return refuse("K3", "release %d requires release %d of itself", p.Release, r.Release)
		}
	}
	return nil
}

func checkFiles(p *Package) *Refusal {
	if len(p.Files) == 0 {
		return refuse("K4", "a package without files")
	}
	for i, f := range p.Files {
		if err := CheckFileName(f.Name); err != nil {
			return refuse("K4", "file %d: %v", i+1, err)
		}
		switch {
		case i > 0 && f.Name <= p.Files[i-1].Name:
			return refuse("K4", "file %d, %s, stands there twice or out of order", i+1, f.Name)
		case f.Mode != ModeData && f.Mode != ModeProgram:
			return refuse("K4", "file %s: mode %q is neither %s nor %s", f.Name, f.Mode, ModeData, ModeProgram)
		case f.Size < 0 || f.Size > MaxFileSize:
			return refuse("K4", "file %s: size %d is out of range", f.Name, f.Size)
		case !isDigest(f.SHA256):
			return refuse("D7", "file %s: sha256 is not 64 lower-case hex digits", f.Name)
		}
	}
	if n := p.Size(); n > MaxPackageSize { // 30,000 files of MaxFileSize do not overflow
		return refuse("K4", "the files have %d bytes, more than %d", n, int64(MaxPackageSize))
	}
	if err := CheckTree(p.Files); err != nil {
		return refuse("K4", "%v", err)
	}
	return nil
}

// CheckTree refuses files that no folder can hold on every system: two whose
// names differ in case alone, or one where another one needs a folder.
func CheckTree(files []File) error {
	names := make(map[string]string, len(files)) // of files and folders, as they are written
	for _, f := range files {
		for dir := path.Dir(f.Name); dir != "."; dir = path.Dir(dir) {
			key := strings.ToLower(dir)
			if was, there := names[key]; there && was != dir+"/" {
				return fmt.Errorf("%s: the folder %s and %s differ in case alone, or one of them is a file", f.Name, dir, was)
			}
			names[key] = dir + "/"
		}
		key := strings.ToLower(f.Name)
		if was, there := names[key]; there {
			return fmt.Errorf("%s and %s are one name where case does not count", f.Name, was)
		}
		names[key] = f.Name
	}
	return nil
}

func checkProbe(p *Package) *Refusal {
	if p.Probe == nil {
		return nil
	}
	c := p.Probe.Command
	switch {
	case len(c) == 0 || len(c) > maxArguments:
		return refuse("K5", "a probe of %d words", len(c))
	case !inRange(p.Probe.Seconds, MaxProbeSeconds):
		return refuse("K5", "%d seconds for the probe are not 1 to %d", p.Probe.Seconds, MaxProbeSeconds)
	case !slices.ContainsFunc(p.Files, func(f File) bool { return f.Name == c[0] && f.Mode == ModeProgram }):
		return refuse("K5", "the probe %q is no program among the files", c[0])
	}
	for _, arg := range c[1:] {
		if !isWords(arg, maxArgument) {
			return refuse("K5", "an argument of the probe is longer than %d bytes or has control characters", maxArgument)
		}
	}
	return nil
}

// ValidProduct reports whether s can be a product's name: 1 to 64 bytes of
// [a-z0-9._-], the first one a letter or a digit. It names a folder on tills.
func ValidProduct(s string) bool {
	return s != "" && len(s) <= maxWord && s[0] != '.' && s[0] != '-' && s[0] != '_' &&
		!strings.ContainsFunc(s, func(r rune) bool { return r > 'z' || !isLower(byte(r)) && r != '.' })
}

// ValidVersion reports whether s can be a version: 1 to 64 bytes of
// [A-Za-z0-9._+~-], the first one a letter or a digit.
func ValidVersion(s string) bool {
	if s == "" || len(s) > maxWord || strings.IndexByte("._+~-", s[0]) >= 0 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r > '~' || !isLower(byte(unicode.ToLower(r))) && !strings.ContainsRune(".+~", r)
	})
}

func validPlatform(s string) bool {
	return s != "" && len(s) <= maxPlatform &&
		!strings.ContainsFunc(s, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9') })
}

func validNotes(s string) bool {
	return len(s) <= MaxNotes && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' })
}

// CheckFileName says why name cannot be the name of a file in a package: a
// relative path with slashes of at most 256 bytes, whose parts, at most 32,
// are printable ASCII that every file system takes, without what leads
// elsewhere, looks like an option, or means a device on Windows. It is split
// for a USTAR header (POSIX.1-1988) into 155 bytes and 100.
func CheckFileName(name string) error {
	parts := strings.Split(name, "/")
	switch {
	case len(name) > maxFileName:
		return fmt.Errorf("the name %.60q… has %d bytes, more than %d", name, len(name), maxFileName)
	case len(parts) > maxDepth:
		return fmt.Errorf("%q is more than %d folders deep", name, maxDepth)
	case strings.HasPrefix(name, "-"):
		return fmt.Errorf("the name %q begins with a dash, as an option does", name)
	case !fitsUSTAR(name):
		return fmt.Errorf("the name %q does not fit the header of a tar: its last part may have 100 bytes, and what is before it 155", name)
	}
	for _, part := range parts {
		if err := checkPart(part); err != nil {
			return fmt.Errorf("the name %q: %w", name, err)
		}
	}
	return nil
}

// fitsUSTAR reports whether a slash cuts name into a prefix of 155 bytes and a
// name of 100 at most.
func fitsUSTAR(name string) bool {
	if len(name) <= 100 {
		return true
	}
	cut := strings.IndexByte(name[len(name)-101:], '/') // the first slash that leaves 100 at most
	return cut >= 0 && len(name)-101+cut <= 155 && len(name)-101+cut > 0
}

func checkPart(part string) error {
	switch {
	case part == "" || part == "." || part == "..":
		return errors.New("a part of it is empty or leads elsewhere")
	case strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r > '~' }):
		return errors.New("only printable ASCII is allowed; give the file another name")
	case strings.ContainsAny(part, `\:*?"<>|`):
		return errors.New(`none of \ : * ? " < > | is allowed, which Windows does not take`)
	case part[0] == ' ' || strings.HasSuffix(part, " ") || strings.HasSuffix(part, "."):
		return errors.New("a part of it begins with a blank, or ends with a blank or a dot, which Windows takes away")
	case isDevice(part):
		return fmt.Errorf("%s is the name of a device on Windows", part)
	}
	return nil
}

// isDevice: what Windows takes for a device, whatever follows the first dot.
// https://learn.microsoft.com/windows/win32/fileio/naming-a-file
func isDevice(part string) bool {
	base, _, _ := strings.Cut(strings.ToLower(part), ".")
	base = strings.TrimRight(base, " ")
	switch base {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(base) == 4 && (base[:3] == "com" || base[:3] == "lpt") && base[3] >= '0' && base[3] <= '9'
}
