package proof

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"caisseauto/manifest"
)

// Files is a dossier's folder on a drop, or a copy of one.
type Files interface {
	// Manifests returns the numbers of the manifests in a stream's folder
	// ("up/017"), in rising order.
	Manifests(ctx context.Context, folder string) ([]int64, error)
	// Read returns a file ("up/017/0000000001.manifest.json") of at most
	// limit bytes; fs.ErrNotExist when it is not there.
	Read(ctx context.Context, name string, limit int64) ([]byte, error)
}

// Options say what part of a stream is to be proven; the zero value means all.
type Options struct {
	From, To     int64     // lowest and highest batch; 0: no limit
	Since, Until time.Time // by the time at which batches were sealed, Until excluded; zero: no limit
}

func (o *Options) partial() bool {
	return o.From > 0 || o.To > 0 || !o.Since.IsZero() || !o.Until.IsZero()
}

// wants reports whether a batch belongs to the part.
func (o *Options) wants(m *manifest.Manifest) bool {
	return m.Sequence >= o.From && (o.To == 0 || m.Sequence <= o.To) &&
		!m.Created.Before(o.Since) && (o.Until.IsZero() || m.Created.Before(o.Until))
}

// A Report is what was shown.
type Report struct {
	Stream    string   `json:"stream"`
	Lines     []string `json:"lines"`   // what arrived, for a person
	Missing   []string `json:"missing"` // what did not, each named
	Batches   int      `json:"batches"` // of the part that was asked for
	Delivered int      `json:"delivered"`
	Receipt   int64    `json:"receipt"` // batch that the receipt names, 0: there is none
	Waiting   int64    `json:"waiting"` // rows that the till's head says are not sealed or not receipted
}

// OK reports whether nothing is missing.
func (r *Report) OK() bool { return len(r.Missing) == 0 }

func (r *Report) miss(format string, args ...any) {
	r.Missing = append(r.Missing, fmt.Sprintf(format, args...))
}

func (r *Report) say(format string, args ...any) {
	r.Lines = append(r.Lines, fmt.Sprintf(format, args...))
}

// A prover is one proof at work.
type prover struct {
	files   Files
	folder  string // up/017
	stream  string
	till    string
	trust   *manifest.Trust
	o       Options
	report  *Report
	last    manifest.Position
	head    *manifest.Head
	receipt *manifest.Receipt
	covered bool // the receipt's batch was met
	wanted  map[int64]bool
	numbers map[string]manifest.Ranges // by table, of every batch: AddTotals drops those in too many pieces

	sealed    []manifest.Total // of the part that was asked for
	delivered []manifest.Total // of it, by batches that the receipt covers
	receipted []manifest.Total // of every batch that the receipt covers

	undelivered tail // of the part, what no receipt covers
}

// Prove shows what of a till's stream has arrived. An error means that
// something could not be read; whatever can be read and is wrong or missing
// stands in the Report.
func Prove(ctx context.Context, files Files, dossier, till string, trust *manifest.Trust, o Options) (*Report, error) {
	stream := manifest.StreamUp(dossier, till)
	p := &prover{files: files, folder: "up/" + till, stream: stream, till: till, trust: trust, o: o,
		report: &Report{Stream: stream, Lines: []string{}, Missing: []string{}}, wanted: map[int64]bool{}, numbers: map[string]manifest.Ranges{}}
	// The receipt first: what it names is then among the manifests.
	for _, step := range []func(context.Context) error{p.readReceipt, p.readHead, p.walk} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return p.report, p.judge()
}

// pair reads a statement and its signature; ok is false where one is missing.
func (p *prover) pair(ctx context.Context, name string, limit int64) (doc, sig []byte, ok bool, err error) {
	doc, err = p.files.Read(ctx, name, limit)
	if err == nil {
		sig, err = p.files.Read(ctx, name+".sig", manifest.MaxSignature)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, false, nil
	}
	return doc, sig, err == nil, err
}

// replaced reads a statement that its writer replaces in place, and opens it.
// Between the two files of a pair the writer may be at work: what does not
// belong together is read again. A refusal stands in the report; ok is false
// then, and where there is none.
func (p *prover) replaced(ctx context.Context, name string, limit int64, open func(doc, sig []byte) error) (ok bool, err error) {
	for try := 1; ; try++ {
		doc, sig, ok, err := p.pair(ctx, name, limit)
		if err != nil || !ok {
			return false, err
		}
		refused := open(doc, sig)
		if refused == nil {
			return true, nil
		}
		if try == readings {
			p.report.miss("%v", refused)
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// A replacement takes milliseconds, and is minutes from the next one.
const (
	readings = 3
	pause    = 100 * time.Millisecond
)

func (p *prover) readReceipt(ctx context.Context) error {
	name := "receipts/" + manifest.ReceiptName(p.till)
	before := len(p.report.Missing)
	ok, err := p.replaced(ctx, name, manifest.MaxReceipt, func(doc, sig []byte) (err error) {
		p.receipt, err = manifest.OpenReceipt(name, p.stream, doc, sig, p.trust)
		return err
	})
	switch {
	case err != nil:
		return err
	case ok:
		p.report.Receipt = p.receipt.Sequence
	case len(p.report.Missing) == before:
		p.report.miss("%s: the server has given no receipt", name)
	}
	return nil
}

// readHead asks the till's newest statement how far the stream goes: the last
// manifests could have been removed.
func (p *prover) readHead(ctx context.Context) error {
	name := p.folder + "/" + manifest.HeadName
	ok, err := p.replaced(ctx, name, manifest.MaxHead, func(doc, sig []byte) (err error) {
		if p.head, err = manifest.OpenHead(name, doc, sig, p.trust); err == nil {
			err = p.head.Expect(name, p.stream)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !ok:
		p.head = nil // one of another stream was opened, and then refused
	case p.head.Till != nil:
		p.report.Waiting = p.head.Till.Waiting
	}
	return nil
}
