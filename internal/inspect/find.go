package inspect

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"caisseauto/internal/change"
	"caisseauto/manifest"
)

// A Hit is a row that was looked for, and the batch that it is in.
type Hit struct {
	Stream   string
	Epoch    int64
	Sequence int64
	Kind     manifest.Kind
	Created  time.Time
	Signer   string
	Trusted  bool
	Row      Row
}

// Found is what a search has come to.
type Found struct {
	Batches    int64 // with a good manifest
	Searched   int64 // of these, whose archive was read: they hold rows of the table
	Hits       int64
	Unsearched []Unsearched
	More       int64    // batches that were not searched and have no place in the list
	Tables     []string // that the manifests name, if the table is not among them
}

// Wrong reports whether a batch could not be searched that should have been.
func (f *Found) Wrong() bool {
	return f.More > 0 || slices.ContainsFunc(f.Unsearched, func(u Unsearched) bool { return u.Wrong })
}

// What a search remembers at most.
const (
	maxUnsearched = 1000    // ranges of batches that were not searched
	maxKept       = 4 << 20 // bytes of manifests, so that few are read twice
	maxTables     = 1000
)

// A candidate is a batch that may hold the key.
type candidate struct {
	place    int
	sequence int64
	order    time.Time // created, never before that of the batch before it
	digest   string    // of the manifest
	cost     int64     // see room
	doc, sig []byte    // nil: to be read again
}

// Find looks for the rows of a table that key fits, in all batches of the
// places, and hands them out in the order of time, and for each stream in the
// order of its numbers. An error of hit ends the search.
//
// All manifests are verified first: they say which batches hold rows of the
// table. Only those archives are read, several at a time. Streams of packages,
// which have no rows, are passed over.
func (i *Inspector) Find(ctx context.Context, places []Place, table string, key Key, hit func(Hit) error) (*Found, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &search{Inspector: i, places: places, table: table, key: key, found: &Found{}, cancel: cancel, oldestOf: map[string]int64{}}
	if err := s.plan(ctx); err != nil {
		return nil, err
	}
	if s.fits == 0 && s.misfit != nil {
		return nil, s.misfit
	}
	if err := s.read(ctx, hit); err != nil {
		return nil, err
	}
	s.conclude()
	return s.found, nil
}

// A search is one run of Find.
type search struct {
	*Inspector
	places []Place
	table  string
	key    Key
	found  *Found
	cancel func()

	mu         sync.Mutex
	candidates []candidate
	kept       int64
	fits       int64 // manifests with the table whose key fits
	misfit     error
	known      bool // some manifest lists the table
	fatal      error
	sizes      int64 // of the archives to be read

	heads    sync.Mutex
	oldestOf map[string]int64 // number of the oldest archive, by place
}

func (s *search) workers() int {
	if s.Workers > 0 {
		return s.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// fail keeps the first error that ends everything.
func (s *search) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fatal == nil {
		s.fatal = err
	}
	s.cancel()
}

// conclude puts the rest of the result in order.
func (s *search) conclude() {
	f := s.found
	f.join()
	for len(f.Unsearched) > maxUnsearched {
		last := f.Unsearched[len(f.Unsearched)-1]
		f.Unsearched, f.More = f.Unsearched[:len(f.Unsearched)-1], f.More+last.Last-last.First+1
	}
	slices.Sort(f.Tables)
	if s.known {
		f.Tables = nil
	}
}

// A job is one archive to be searched.
type job struct {
	number int
	candidate
	out chan []Hit // closed when it was searched
}

// room is how many bytes the archives may take that are under way: the window
// of the decompression, up to 8 MiB; three times the largest row, as its
// buffers grow, and all that is known of it is that its member holds it; the
// decoded manifest. So an archive with members of 8 MiB, a baseline, is read
// alone, which keeps two processors busy, and of small ones many at a time.
const (
	room    = 32 << 20
	window  = 8 << 20
	buffers = 3
	decoded = 3 // bytes that one of a manifest takes when it was read
)

// costOf is what a batch takes of the room while it is searched.
func costOf(doc []byte, m *manifest.Manifest) int64 {
	row := int64(0)
	for _, x := range m.Members {
		row = max(row, x.Size)
	}
	return min(min(m.Archive.TarSize, window)+buffers*row+decoded*int64(len(doc)), room)
}

// read searches the candidates, in order, on all processors.
func (s *search) read(ctx context.Context, hit func(Hit) error) error {
	slices.SortStableFunc(s.candidates, func(a, b candidate) int {
		return cmp.Or(a.order.Compare(b.order), cmp.Compare(s.places[a.place].Stream, s.places[b.place].Stream), cmp.Compare(a.place, b.place), cmp.Compare(a.sequence, b.sequence))
	})
	g := newGate(ctx, room)
	defer g.close()
	progress := s.progress("searching archives", s.sizes, true)
	defer progress.Done()
	jobs, order := make(chan *job), make(chan *job, 2*s.workers())
	var wait sync.WaitGroup
	for range s.workers() {
		wait.Go(func() {
			for j := range jobs {
				s.work(ctx, g, j, progress.Add)
			}
		})
	}
	go func() {
		defer close(order)
		defer close(jobs)
		for n := range s.candidates {
			j := &job{number: n, candidate: s.candidates[n], out: make(chan []Hit)}
			s.candidates[n].doc, s.candidates[n].sig = nil, nil
			select {
			case jobs <- j:
				order <- j
			case <-ctx.Done():
				return
			}
		}
	}()
	var own error
	for j := range order {
		for chunk := range j.out {
			for _, h := range chunk {
				if own == nil && ctx.Err() == nil {
					s.found.Hits++
					own = hit(h)
				}
			}
			if own != nil {
				s.cancel()
			}
		}
	}
	wait.Wait()
	if own != nil {
		return own
	}
	return s.ended(ctx)
}

// ended returns why a stage has ended before its end.
func (s *search) ended(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fatal != nil {
		return s.fatal
	}
	return ctx.Err()
}

// work searches one archive.
func (s *search) work(ctx context.Context, g *gate, j *job, done func(int64)) {
	defer close(j.out)
	p := s.places[j.place]
	g.enter(j.number, j.cost)
	defer g.leave(j.cost)
	b, err := s.again(ctx, p, j)
	if err == nil {
		err = s.rows(ctx, b, j.out)
		done(b.Manifest.Archive.Size)
	}
	if err != nil {
		s.notSearched(ctx, p, j.sequence, err)
	} else {
		s.searched()
	}
}

func (s *search) searched() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found.Searched++
}

// again opens the manifest that the plan has read.
func (s *search) again(ctx context.Context, p Place, j *job) (*Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if j.doc != nil {
		return s.open(p, j.sequence, j.doc, j.sig)
	}
	b, err := s.Open(ctx, p, j.sequence)
	if err == nil && b.Digest != j.digest {
		return nil, refused(shown(p, manifest.FileName(j.sequence, manifest.ManifestExt)), errExchanged)
	}
	return b, err
}

// errExchanged: room was made for another batch.
var errExchanged = errors.New("it was exchanged for another one while it was looked at")

// chunk is how many bytes of hits are handed over at once.
const chunk = 64 << 10

// rows finds the rows of one archive and hands them over. A context that ends
// while nobody takes them is an error.
func (s *search) rows(ctx context.Context, b *Batch, out chan<- []Hit) error {
	f, err := s.archive(ctx, b, nil)
	if err != nil {
		return err
	}
	defer f.Close()
	m := b.Manifest
	t := tableOf(m, s.table) // the plan has seen it
	bound, err := s.key.bind(t.Name, t.Key)
	if err != nil {
		return err
	}
	var hits []Hit
	size := 0
	give := func() error {
		select {
		case out <- hits:
			hits, size = nil, 0
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err = s.Inspector.read(ctx, b, f, func(_ int, h *change.Header) bool { return h.Table == s.table }, func(block *change.Block) error {
		return bound.each(block, func(r Row) error {
			hits = append(hits, Hit{m.Stream, m.Epoch, m.Sequence, m.Kind, m.Created, m.Signer, b.Trusted, r.Clone()})
			if size += r.size(); size < chunk {
				return nil
			}
			return give()
		})
	})
	if len(hits) > 0 {
		// Also those of an archive that turned out to be damaged behind them:
		// its digest is the signed one.
		err = errors.Join(err, give())
	}
	return err
}

// tableOf returns the table of a manifest, nil when it has none of that name.
func tableOf(m *manifest.Manifest, name string) *manifest.Table {
	for n := range m.Tables {
		if m.Tables[n].Name == name {
			return &m.Tables[n]
		}
	}
	return nil
}
