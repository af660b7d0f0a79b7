package verify

import (
	"time"

	"caisseauto/manifest"
)

// Format is what stands in the field "format" of a report.
const Format = "caisseauto/verify/1"

// A Check is one of the questions that are asked of the files.
type Check string

// The checks, in the order in which they are made.
const (
	Signature    Check = "signature"
	Signer       Check = "signer"
	Trust        Check = "trust"
	Hash         Check = "hash"
	Chain        Check = "chain"
	Freshness    Check = "freshness"
	Completeness Check = "completeness"
	Content      Check = "content"
)

// Checks lists all of them, in order.
var Checks = []Check{Signature, Signer, Trust, Hash, Chain, Freshness, Completeness, Content}

// A Verdict is the answer to one check.
type Verdict string

// The verdicts.
const (
	OK        Verdict = "ok"
	Wrong     Verdict = "wrong"
	Unchecked Verdict = "unchecked" // there was nothing to look at, or it was not asked for
)

// A Report is what was found.
type Report struct {
	Format  string    `json:"format"`
	Made    time.Time `json:"made"` // UTC
	At      time.Time `json:"at"`   // the time at which freshness was judged
	Paths   []string  `json:"paths"`
	Trusted []Source  `json:"trusted"`
	Verdict Verdict   `json:"verdict"` // ok: all is proven; wrong: something is not
	Streams []*Stream `json:"streams"`
	Faults  []Fault   `json:"faults"`
	// Unnamed counts the faults beyond those in Faults.
	Unnamed int64   `json:"unnamed"`
	Seconds float64 `json:"seconds"`
}

// A Source is a file of trusted keys that was used.
type Source struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// Proven reports whether nothing is wrong.
func (r *Report) Proven() bool { return r.Verdict == OK }

// A Fault is one thing that is wrong, in one file.
type Fault struct {
	Stream string `json:"stream"`
	File   string `json:"file"` // path on the drop, for example "ACME/down/0000000002.tar.zst"
	Check  Check  `json:"check"`
	Rule   string `json:"rule,omitempty"` // of SPEC.md, where one says so
	Text   string `json:"text"`
}

// A Stream is what was found of one stream.
type Stream struct {
	Stream string `json:"stream"`
	Folder string `json:"folder"` // where it lies on this machine

	First   int64     `json:"first"` // numbers of the batches that are there; 0: none
	Last    int64     `json:"last"`
	From    time.Time `json:"from,omitzero"` // when the first and the last were sealed, by their writer's clock
	Until   time.Time `json:"until,omitzero"`
	Batches int64     `json:"batches"` // good manifests
	Base    int64     `json:"baselines"`
	Pruned  int64     `json:"pruned"` // archives that their writer has given up behind a baseline
	Rows    int64     `json:"rows"`   // in the good manifests
	Bytes   int64     `json:"bytes"`  // of the good archives
	// Of a stream of packages, which has no rows: their files in the good
	// manifests, and what it comes to for each product and kind of machine.
	Files    int64             `json:"files,omitempty"`
	Packages []manifest.Latest `json:"packages,omitempty"`

	Signers  []Signing         `json:"signers"`
	Head     *Announced        `json:"head,omitempty"`
	Receipt  *Announced        `json:"receipt,omitempty"`
	Verdicts map[Check]Verdict `json:"checks"`
	Faults   int64             `json:"faults"`
	Notes    []string          `json:"notes"` // what is worth knowing and not wrong

	seen map[Check]bool // something was looked at
}

// A Signing is a key and what it has signed in the stream: good manifests.
type Signing struct {
	Principal   string `json:"principal"`
	Fingerprint string `json:"fingerprint"`
	First       int64  `json:"first"`
	Last        int64  `json:"last"`
	Batches     int64  `json:"batches"`
}

// An Announced position is what a good head or receipt names.
type Announced struct {
	Sequence int64     `json:"sequence"`
	Epoch    int64     `json:"epoch"`
	Issued   time.Time `json:"issued"`
	Expires  time.Time `json:"expires,omitzero"` // of a head
	Held     int64     `json:"quarantine"`       // of a receipt: rows
	Signer   string    `json:"signer,omitempty"`
}

// maxPackages bounds the products and kinds of machines that are told apart.
const maxPackages = 1000

// maxFaults bounds what a hostile folder can make a report hold.
const maxFaults = 5000

// saw notes that a check was made.
func (s *Stream) saw(checks ...Check) {
	for _, c := range checks {
		s.seen[c] = true
	}
}

// note says something that is not wrong.
func (s *Stream) note(text string) {
	if len(s.Notes) < 100 {
		s.Notes = append(s.Notes, text)
	}
}

// add notes a fault.
func (r *Report) add(s *Stream, f Fault) {
	f.Stream = s.Stream
	s.Faults++
	s.saw(f.Check)
	s.Verdicts[f.Check] = Wrong
	r.Verdict = Wrong
	if len(r.Faults) < maxFaults {
		r.Faults = append(r.Faults, f)
	} else {
		r.Unnamed++
	}
}

// conclude fills in the verdicts of the checks that found nothing wrong.
func (s *Stream) conclude() {
	for _, c := range Checks {
		switch {
		case s.Verdicts[c] == Wrong:
		case s.seen[c]:
			s.Verdicts[c] = OK
		default:
			s.Verdicts[c] = Unchecked
		}
	}
}
