package status

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"caisseauto/manifest"
)

// Files is a dossier's folder on a drop, or a copy of one.
type Files interface {
	// Tills returns the numbers of the tills that have a folder or a receipt,
	// in order.
	Tills(ctx context.Context) ([]string, error)
	// Manifests returns the numbers of the manifests in a stream's folder
	// ("up/017"), in rising order.
	Manifests(ctx context.Context, folder string) ([]int64, error)
	// Read returns a file ("up/017/HEAD.json") of at most limit bytes;
	// fs.ErrNotExist when it is not there.
	Read(ctx context.Context, name string, limit int64) ([]byte, error)
}

// ErrFolder is wrapped by the errors of [Files.Tills] that are about the folder
// and not about reaching it: it is locked, or something else is in its place.
// They are an alarm of the dossier.
var ErrFolder = errors.New("not as it should be")

// Options say what to gather.
type Options struct {
	Now time.Time
	// History is how many of the newest manifests of each stream are read as
	// well, for the timeline; 0: none.
	History int
}

// A State is how a till is, from worst to best.
type State string

// The states.
const (
	Alarm State = "alarm" // something is wrong, on the till or on the drop, or rows are in quarantine
	Look  State = "look"  // nothing is wrong, but it is behind, silent, its clock is off, or it did not take a package
	Well  State = "ok"
)

// A Dossier is the state of its streams.
type Dossier struct {
	Dossier string    `json:"dossier"`
	At      time.Time `json:"at"`
	Down    Down      `json:"down"`
	// Packages is the stream of software packages.
	Packages Packages `json:"packages"`
	Tills    []Till   `json:"tills"`
}

// Down is the stream from the server to the tills.
type Down struct {
	Sequence int64     `json:"sequence"` // 0: nothing is there, or no head that verifies
	Epoch    int64     `json:"epoch"`
	Baseline int64     `json:"baseline"`
	Oldest   int64     `json:"oldest"`
	Issued   time.Time `json:"issued,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
	Trust    int64     `json:"trust"` // newest version of the trust documents that the head names; 0: none
	Alarms   []string  `json:"alarms"`
	History  []Event   `json:"-"`
}

// A Till is what is known of one till.
type Till struct {
	Till  string `json:"till"`
	State State  `json:"state"`

	Sealed      int64     `json:"sealed"`      // newest batch that it announces
	Integrated  int64     `json:"integrated"`  // newest batch that the server's receipt covers
	Undelivered int64     `json:"undelivered"` // batches between
	Receipted   time.Time `json:"receipted,omitzero"`
	Quarantine  int64     `json:"quarantine"` // rows that wait there
	Discarded   int64     `json:"discarded"`  // rows that an operator has closed there

	Applied    int64   `json:"applied"`     // of the stream down
	LagBatches int64   `json:"lag_batches"` // behind the stream's head
	LagSeconds float64 `json:"lag_seconds"` // since the oldest batch that it lacks was sealed

	Waiting       int64     `json:"waiting"` // rows in its outbox that no receipt covers
	OldestWaiting time.Time `json:"oldest_waiting,omitzero"`

	Heard         time.Time `json:"heard,omitzero"` // when its newest head was issued, by its own clock
	SilentSeconds float64   `json:"silent_seconds"`
	Silent        bool      `json:"silent"` // that head has expired

	Host    string `json:"host"`
	Version string `json:"version"` // of the program
	// Packages are the software packages that run there, and Updates the last
	// attempts to install any, the oldest first; null: its head says nothing of
	// that.
	Packages    []Package         `json:"packages"`
	Updates     []manifest.Update `json:"updates"`
	FreeBytes   int64             `json:"free_bytes"`
	Incarnation string            `json:"incarnation"`
	ClockAhead  float64           `json:"clock_ahead_seconds"`  // by at least that; 0: nothing shows it
	ClockBehind float64           `json:"clock_behind_seconds"` // the same

	Alarms []string `json:"alarms"`
	// Warnings are for somebody to look at: a package that was refused or
	// rolled back.
	Warnings []string `json:"warnings"`
	History  []Event  `json:"-"`
}

// An Event is a batch that was sealed.
type Event struct {
	Sequence int64
	Created  time.Time
	Rows     int64
}

// skew is how far a clock may be off before it is told: heads are issued every
// few minutes, in whole seconds.
const skew = 2 * time.Minute

// Gather reads the heads and receipts of a dossier. An error means that its
// folder cannot be reached or ctx has ended; what does not verify is an alarm.
func Gather(ctx context.Context, files Files, dossier string, trust *manifest.Trust, o Options) (*Dossier, error) {
	g := &gathering{ctx: ctx, files: files, trust: trust, o: o, sealed: map[int64]sealing{},
		d: &Dossier{Dossier: dossier, At: o.Now.UTC().Truncate(time.Second), Tills: []Till{}, Packages: Packages{Alarms: []string{}}}}
	if err := g.down(); err != nil {
		return nil, err
	}
	numbers, err := files.Tills(ctx)
	if errors.Is(err, ErrFolder) {
		g.d.Down.Alarms = append(g.d.Down.Alarms, "the tills cannot be seen: "+err.Error())
		return g.d, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	for _, n := range numbers {
		t, err := g.till(n)
		if err != nil {
			return nil, err
		}
		g.d.Tills = append(g.d.Tills, t)
	}
	if err := g.packages(); err != nil {
		return nil, err
	}
	return g.d, ctx.Err()
}

// Alarms returns how many tills have an alarm, the streams down and of packages
// counted as one each.
func (d *Dossier) Alarms() int {
	n := 0
	if len(d.Down.Alarms) > 0 {
		n++
	}
	if len(d.Packages.Alarms) > 0 {
		n++
	}
	for _, t := range d.Tills {
		if t.State == Alarm {
			n++
		}
	}
	return n
}

// Worst returns the tills, those in trouble first.
func (d *Dossier) Worst() []Till {
	rank := map[State]int{Alarm: 0, Look: 1, Well: 2}
	list := slices.Clone(d.Tills)
	slices.SortStableFunc(list, func(a, b Till) int {
		return cmp.Or(cmp.Compare(rank[a.State], rank[b.State]), cmp.Compare(b.LagSeconds, a.LagSeconds))
	})
	return list
}

// A gathering is one run.
type gathering struct {
	ctx    context.Context
	files  Files
	trust  *manifest.Trust
	o      Options
	d      *Dossier
	sealed map[int64]sealing // batches of the stream down that were read
}

// A sealing is what is asked of a manifest down: when it was sealed, and what
// it was.
type sealing struct {
	digest  string
	created time.Time
	err     error
}

// pair reads a statement and its signature, and opens them. A writer may be
// replacing the two just now: what does not fit is read once more.
func (g *gathering) pair(name string, limit int64, open func(doc, sig []byte) error) error {
	var err error
	for range 2 {
		var doc, sig []byte
		if doc, err = g.files.Read(g.ctx, name, limit); err != nil {
			return err
		}
		if sig, err = g.files.Read(g.ctx, name+".sig", manifest.MaxSignature); err != nil {
			return err
		}
		if err = open(doc, sig); err == nil {
			return nil
		}
	}
	return err
}

// said files an error in reading a file as an alarm, in words. Only an ended
// context is an error.
func (g *gathering) said(alarms *[]string, err error) error {
	switch {
	case g.ctx.Err() != nil:
		return g.ctx.Err()
	case err != nil && !slices.Contains(*alarms, err.Error()): // one file may be asked for twice
		*alarms = append(*alarms, err.Error())
	}
	return nil
}

// down reads the stream from the server.
func (g *gathering) down() error {
	d, stream := &g.d.Down, manifest.StreamDown(g.d.Dossier)
	d.Alarms = []string{}
	err := g.pair("down/"+manifest.HeadName, manifest.MaxHead, func(doc, sig []byte) error {
		h, err := manifest.OpenHead(stream+"/"+manifest.HeadName, doc, sig, g.trust)
		if err == nil {
			err = h.Expect(stream+"/"+manifest.HeadName, stream)
		}
		if err != nil {
			return err
		}
		d.Sequence, d.Epoch, d.Baseline, d.Oldest, d.Issued, d.Expires = h.Sequence, h.Epoch, h.Baseline, h.Oldest, h.Issued, h.Expires
		if b := g.trust.Block(g.d.Dossier); b != nil && h.Trust > b.Version {
			d.Alarms = append(d.Alarms, fmt.Sprintf("the head names version %d of the trust documents, and version %d is the newest that is here: one was withheld or removed", h.Trust, b.Version))
		}
		d.Trust = h.Trust
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.Alarms = append(d.Alarms, "the stream down has no head: nothing was exported yet, or it was removed")
	case err != nil:
		if err := g.said(&d.Alarms, err); err != nil {
			return err
		}
	case !g.o.Now.Before(d.Expires):
		d.Alarms = append(d.Alarms, fmt.Sprintf("the head of the stream down expired at %s: the export does not run, or somebody holds back its files", d.Expires.Format(time.RFC3339)))
	}
	d.History, err = g.history(stream, "down", &d.Alarms)
	return err
}

// seal reads a manifest of the stream down, once.
func (g *gathering) seal(sequence int64) sealing {
	if s, ok := g.sealed[sequence]; ok {
		return s
	}
	m, digest, err := g.manifest(manifest.StreamDown(g.d.Dossier), "down", sequence)
	s := sealing{digest: digest, err: err}
	if err == nil {
		s.created = m.Created
	}
	g.sealed[sequence] = s
	return s
}

// manifest reads and verifies one manifest.
func (g *gathering) manifest(stream, folder string, sequence int64) (*manifest.Manifest, string, error) {
	name := manifest.FileName(sequence, manifest.ManifestExt)
	doc, err := g.files.Read(g.ctx, folder+"/"+name, manifest.MaxManifest)
	if err != nil {
		return nil, "", err
	}
	sig, err := g.files.Read(g.ctx, folder+"/"+manifest.FileName(sequence, manifest.SignatureExt), manifest.MaxSignature)
	if err != nil {
		return nil, "", err
	}
	m, pos, err := manifest.Open(stream+"/"+name, stream, doc, sig, g.trust)
	if err == nil {
		err = m.Expect(stream+"/"+name, stream, sequence)
	}
	return m, pos.Digest, err
}

// history reads the newest manifests of a stream.
func (g *gathering) history(stream, folder string, alarms *[]string) ([]Event, error) {
	if g.o.History == 0 {
		return nil, nil
	}
	numbers, err := g.files.Manifests(g.ctx, folder)
	if err != nil {
		return nil, g.said(alarms, err)
	}
	slices.Sort(numbers)
	var list []Event
	for _, n := range numbers[max(0, len(numbers)-g.o.History):] {
		m, _, err := g.manifest(stream, folder, n)
		if errors.Is(err, fs.ErrNotExist) {
			continue // not complete yet
		}
		if err != nil {
			if err := g.said(alarms, err); err != nil {
				return nil, err
			}
			continue
		}
		e := Event{Sequence: n, Created: m.Created}
		for _, member := range m.Members {
			e.Rows += member.Rows
		}
		list = append(list, e)
	}
	return list, nil
}
