package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"caisseauto/internal/durable"
	"caisseauto/manifest"
)

// Contents says whether archives are decompressed and read to the last row,
// those of packages to the last file.
type Contents string

// The choices. Decompressing takes ten to thirty times as long as all the
// other checks, so that a large drop is only read so when it is asked for: the
// signed digest shows already that the archives are those that were sealed.
const (
	Auto Contents = "auto" // when the archives of the folders have together at most AutoLimit
	All  Contents = "all"
	None Contents = "none"
)

// AutoLimit is the number of bytes of archives up to which [Auto] reads them
// to the last row: a second's work.
const AutoLimit = 16 << 20

// Options say how to verify.
type Options struct {
	// Trust says whose signatures count, before the trust documents that lie
	// under the paths. It is asked for each dossier.
	Trust func(dossier string) *manifest.Trust
	// Trusted are the files that Trust came from, for the report.
	Trusted []Source
	Now     time.Time // at which freshness is judged
	Stream  string    // name of the stream of a folder whose path does not say it
	// Contents, and how they are read: Open reads all rows of an archive
	// whose digest was found good, and says what is wrong with them. Packages,
	// which hold none, are read without it.
	Contents Contents
	Open     func(ctx context.Context, m *manifest.Manifest, f *os.File) error
	// Progress is told how many bytes of archives there are to read, and
	// returns what counts those that were read, from several goroutines.
	Progress func(total int64) io.Writer
	Workers  int // 0: one for each processor
}

// Verify checks what lies under the paths. Each is a file of a batch, its
// number without ending, the folder of a stream or dossier, or a drop. An
// error means that a path could not be looked at at all; everything else is in
// the report.
func Verify(ctx context.Context, paths []string, o Options) (*Report, error) {
	start := time.Now()
	v := &verifier{ctx: ctx, o: o, reading: make(chan struct{}, 2), report: &Report{
		Format: Format, Made: start.UTC().Truncate(time.Second), At: o.Now.UTC().Truncate(time.Second), Verdict: OK,
		Trusted: append([]Source{}, o.Trusted...), Streams: []*Stream{}, Faults: []Fault{},
	}}
	all, err := v.find(paths)
	if err != nil {
		return nil, err
	}
	v.contents = o.Contents == All || o.Contents != None && v.total <= AutoLimit
	if o.Progress != nil {
		v.progress = o.Progress(v.total)
	}
	v.believe(all)
	if err := v.run(all); err != nil {
		return nil, err
	}
	v.anything()
	slices.SortStableFunc(v.report.Streams, func(a, b *Stream) int { return strings.Compare(a.Stream, b.Stream) })
	v.report.Seconds = time.Since(start).Seconds()
	return v.report, nil
}

// anything files it when no batch at all was proven: an emptied drop has
// nothing wrong in it.
func (v *verifier) anything() {
	if len(v.report.Faults) > 0 || slices.ContainsFunc(v.report.Streams, func(s *Stream) bool { return s.Batches > 0 }) {
		return
	}
	v.report.Verdict = Wrong
	v.report.Faults = append(v.report.Faults, Fault{File: strings.Join(v.report.Paths, " "), Check: Completeness, Text: "there is no batch: nothing is proven by that"})
}

type verifier struct {
	ctx      context.Context
	o        Options
	report   *Report
	trust    map[string]*manifest.Trust // by the dossier's folder and code
	contents bool
	total    int64 // bytes of archives to read
	progress io.Writer
	// However many processors there are, memory stays bounded: one large
	// manifest is read at a time, and two archives.
	large   sync.Mutex
	reading chan struct{}
}

// largeManifest: a decoded manifest takes some ten times its bytes.
const largeManifest = 256 << 10

// find lists the places under all paths, each once, and adds up what there is
// to read.
func (v *verifier) find(paths []string) ([]place, error) {
	var all []place
	seen := map[string]int{} // where in all
	for _, path := range paths {
		more, err := places(path, v.o.Stream)
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, errTooMany) {
			v.report.Verdict = Wrong
			v.report.Faults = append(v.report.Faults, Fault{File: path, Check: Completeness, Text: fmt.Sprintf("cannot be read: %v", cause(err))})
			err = nil
		}
		if err != nil {
			return nil, err
		}
		for _, p := range more {
			id := fmt.Sprintf("%s %d", p.folder, p.only)
			if i, ok := seen[id]; ok {
				// Named once alone and once with its dossier: the dossier counts.
				all[i].dossier = cmp.Or(all[i].dossier, p.dossier)
				continue
			}
			seen[id] = len(all)
			all = append(all, p)
			v.total += archives(p)
		}
		v.report.Paths = append(v.report.Paths, path)
	}
	return all, nil
}

// archives returns the bytes of the archives at a place.
func archives(p place) int64 {
	root, err := os.OpenRoot(p.folder)
	if err != nil {
		return 0 // said when it is checked
	}
	defer root.Close()
	if p.only != 0 {
		info, err := root.Lstat(manifest.FileName(p.only, manifest.ArchiveExt))
		if err != nil || !info.Mode().IsRegular() {
			return 0
		}
		return info.Size()
	}
	l, err := list(root)
	if err != nil {
		return 0
	}
	return l.archive
}

// A job is one batch to be checked; out gets the result.
type job struct {
	stream *Stream
	root   *os.Root
	trust  *manifest.Trust
	listed listed
	oldest int64
	out    chan *batch
}

// A step is what the one who keeps the tally does next, in order: take a
// batch, or end a stream.
type step struct {
	tally *tally
	job   *job // nil: the stream ends
}

// run checks the batches of all streams on all processors, and takes the
// results in order. What is under way is bounded.
func (v *verifier) run(all []place) error {
	workers := v.o.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(v.ctx)
	defer cancel()
	jobs, steps := make(chan *job), make(chan step, 4*workers)
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for j := range jobs {
				j.out <- v.checkBatch(j)
			}
		})
	}
	go func() {
		defer close(steps)
		defer close(jobs)
		for _, p := range all {
			if !v.give(ctx, p, jobs, steps) {
				return
			}
		}
	}()
	for s := range steps {
		if s.job == nil {
			if ctx.Err() == nil {
				s.tally.end()
			}
			continue
		}
		b := <-s.job.out
		if ctx.Err() == nil {
			s.tally.take(b)
		}
	}
	wait.Wait()
	return v.ctx.Err()
}

// give begins a stream and hands out its batches.
func (v *verifier) give(ctx context.Context, p place, jobs chan<- *job, steps chan<- step) bool {
	t, l, trust := v.begin(p)
	oldest := int64(0)
	if h := t.heading.head; h != nil {
		oldest = h.Oldest
	}
	for _, b := range l.batches {
		if p.only != 0 && b.sequence != p.only {
			continue
		}
		j := &job{stream: t.stream, root: t.root, trust: trust, listed: b, oldest: oldest, out: make(chan *batch, 1)}
		select {
		case jobs <- j:
		case <-ctx.Done():
			return false
		}
		steps <- step{t, j}
	}
	steps <- step{tally: t}
	return true
}

// begin opens a stream's folder and looks at its head and receipt. The report
// is not touched: batches of the stream before may still be under way.
func (v *verifier) begin(p place) (*tally, *listing, *manifest.Trust) {
	s := &Stream{Stream: p.stream, Folder: p.folder, Signers: []Signing{}, Notes: []string{}, Verdicts: map[Check]Verdict{}, seen: map[Check]bool{}}
	t := &tally{report: v.report, stream: s, place: p, next: 1, keep: p.only == 0}
	trust := v.trustOf(p)
	l, err := t.open()
	if err != nil {
		// Nothing more is said of a stream of which not all could be seen.
		t.unread, l.batches = true, nil
		t.first = append(t.first, Fault{File: p.stream, Check: Completeness, Text: fmt.Sprintf("cannot be read: %v", cause(err))})
		return t, l, trust
	}
	if l.strays > 0 {
		s.note(fmt.Sprintf("%d names in the folder belong to nothing here and were passed over", l.strays))
	}
	if !t.keep {
		if l.at(p.only) == 0 {
			t.first = append(t.first, Fault{File: p.stream + "/" + manifest.FileName(p.only, manifest.ManifestExt), Check: Completeness, Text: "it is not there"})
		}
		return t, l, trust
	}
	if t.root != nil && (l.head || len(l.batches) > 0) {
		t.heading = v.checkHead(p, t.root, trust)
		if t.heading.head != nil {
			headPosition(t.heading, t.root, l)
		}
		if h := t.heading.head; h != nil && h.Till != nil {
			if text := t.heading.applied(p); text != "" {
				s.note(text)
			}
		}
		t.keepStatement(t.heading.statement)
	}
	if manifest.IsUp(p.stream) && p.dossier != "" {
		r, receipt := v.checkReceipt(p, t.root, l, trust)
		t.receipt = receipt
		if r != nil {
			t.keepStatement(r)
		}
	}
	t.announce()
	return t, l, trust
}

// open opens the stream's folder, which is none for a till of which only a
// receipt is there. Links on the way from the dossier's folder are refused.
func (t *tally) open() (*listing, error) {
	l := &listing{}
	if err := cmp.Or(t.place.trouble, t.straight()); err != nil {
		return l, err
	}
	root, err := os.OpenRoot(t.place.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	t.root = root
	*l, err = list(root)
	return l, err
}

// straight refuses symbolic links between the dossier's folder and the
// stream's: they would show one stream under the name of another.
func (t *tally) straight() error {
	if t.place.dossier == "" {
		return nil
	}
	rel, err := filepath.Rel(t.place.dossier, t.place.folder)
	if err != nil {
		return err
	}
	at := t.place.dossier
	for _, part := range strings.Split(rel, string(filepath.Separator)) {
		at = filepath.Join(at, part)
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is not a folder (%s)", at, info.Mode().Type())
		}
	}
	return nil
}

// openFile opens a regular file; see [durable.Tree.OpenRegular].
func openFile(root *os.Root, name string) (*os.File, error) {
	return durable.In(root).OpenRegular(name)
}

// counted tells the progress of reading an archive.
func (v *verifier) counted(r io.Reader) io.Reader {
	if v.progress == nil {
		return r
	}
	return io.TeeReader(r, v.progress)
}
