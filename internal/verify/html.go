package verify

import (
	_ "embed"
	"io"
	"slices"
	"strings"

	"caisseauto/internal/page"
	"caisseauto/manifest"
)

//go:embed report.html
var reportBody string

var reportPage = page.Template(reportBody)

// A sheet is what the report's page shows.
type sheet struct {
	*Report
	Checks  []check
	Batches int64
	Rows    int64
	Files   int64
	Bytes   int64
	Wrongs  int64
}

// A check is a column of the table of streams, and the line that explains it.
type check struct {
	Name    Check
	Meaning string
}

var meanings = []check{
	{Signature, "each manifest, head and receipt is signed, in the namespace of its kind, by the key that the signature names"},
	{Signer, "that key belongs, by the list of trusted keys, to the principal who may sign there"},
	{Trust, "the key was neither retired before that number nor revoked at it"},
	{Hash, "each archive has the size and the SHA-256 that were signed"},
	{Chain, "each manifest names the one before it by its SHA-256; heads and receipts name manifests that are here"},
	{Freshness, "the newest head has not expired: nothing newer is held back"},
	{Completeness, "everything that heads, receipts and numbers speak of is here, but for archives that their writer has given up behind a baseline"},
	{Content, "statements and archives have the form of the format; where archives were opened, every row was read, and every file of a package"},
}

// HTML writes the report as one page that needs nothing but itself, for the
// file of whoever asked: streams, ranges of time and numbers, signers, totals
// and every fault.
func (r *Report) HTML(w io.Writer) error {
	s := sheet{Report: r, Checks: meanings, Wrongs: int64(len(r.Faults)) + r.Unnamed}
	for _, x := range r.Streams {
		s.Batches, s.Rows, s.Files, s.Bytes = s.Batches+x.Batches, s.Rows+x.Rows, s.Files+x.Files, s.Bytes+x.Bytes
	}
	title := "Verification: nothing is wrong"
	if !r.Proven() {
		title = "Verification: something is wrong"
	}
	return page.Write(w, title, reportPage, s)
}

// Namespace is where the batches of the stream are signed, for the commands
// that the page names.
func (s *Stream) Namespace() string {
	switch {
	case strings.Contains(s.Stream, "/up/"):
		return "tickets@caisseauto"
	case s.IsPackages():
		return "package@caisseauto"
	}
	return "manifest@caisseauto"
}

// IsPackages reports whether the stream is one of software packages, which hold
// files in place of rows.
func (s *Stream) IsPackages() bool { return manifest.IsPackages(s.Stream) }

// Sample is the stream that the page's commands are about: the first with a
// batch.
func (s sheet) Sample() *Stream {
	i := slices.IndexFunc(s.Streams, func(x *Stream) bool { return len(x.Signers) > 0 })
	if i < 0 {
		return nil
	}
	return s.Streams[i]
}
