package term

import (
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A Progress shows how far something is. On a terminal it is a bar, which
// appears after a second and goes when it is done; elsewhere it is silent, or
// a log line once in a while. Its methods may be called from several
// goroutines, and on a nil Progress, where they do nothing.
type Progress struct {
	o     ProgressOptions
	tty   bool
	start time.Time

	mu   sync.Mutex
	done int64
	next time.Time // when to show something again
	bar  *progressbar.ProgressBar
}

// ProgressOptions say what is shown. The zero value counts pieces of an
// unknown number on standard error.
type ProgressOptions struct {
	Label string
	Total int64        // 0: not known
	Bytes bool         // what is counted are bytes
	Out   io.Writer    // os.Stderr by default; a bar needs a terminal there
	Log   *slog.Logger // where it is no terminal: a line each LogEvery; nil: silent

	After    time.Duration // nothing is shown before this; 1 s by default
	LogEvery time.Duration // 30 s by default
}

// redraw is how often a bar moves: often enough to look alive, too seldom to
// cost anything on a slow serial line.
const redraw = 100 * time.Millisecond

// NewProgress starts to count.
func NewProgress(o ProgressOptions) *Progress {
	if o.Out == nil {
		o.Out = os.Stderr
	}
	if o.After == 0 {
		o.After = time.Second
	}
	if o.LogEvery == 0 {
		o.LogEvery = 30 * time.Second
	}
	p := &Progress{o: o, tty: IsTerminal(o.Out), start: time.Now()}
	p.next = p.start.Add(o.After)
	if !p.tty {
		p.next = p.start.Add(o.LogEvery)
	}
	return p
}

// IsTerminal reports whether w is a terminal that a person looks at.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// Add says that n more are done.
func (p *Progress) Add(n int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	if p.tty {
		p.next = now.Add(redraw)
		p.draw()
		return
	}
	p.next = now.Add(p.o.LogEvery)
	if p.o.Log != nil {
		p.o.Log.Info(p.o.Label, p.line(now)...)
	}
}

// line says how far it is, how fast it goes and how long it will take, for a
// log.
func (p *Progress) line(now time.Time) []any {
	elapsed := now.Sub(p.start)
	rate := float64(p.done) / max(elapsed.Seconds(), 0.001)
	args := []any{"done", p.amount(p.done), "of", p.amount(p.o.Total), "rate", p.amount(int64(rate)) + "/s", "elapsed", Duration(elapsed)}
	if p.o.Total > p.done && rate > 0 {
		args = append(args, "left", Duration(time.Duration(float64(p.o.Total-p.done)/rate*float64(time.Second))))
	}
	return args
}

// Write counts the bytes of b, so that a Progress can stand at the end of an
// io.MultiWriter or io.TeeReader.
func (p *Progress) Write(b []byte) (int, error) {
	p.Add(int64(len(b)))
	return len(b), nil
}

// Done takes the bar away. It may be called twice.
func (p *Progress) Done() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear() // nothing is lost when a terminal is gone
		p.bar = nil
	}
	p.next = p.start.AddDate(100, 0, 0)
}

func (p *Progress) amount(n int64) string {
	switch {
	case n == 0:
		return "?"
	case p.o.Bytes:
		return Size(n)
	}
	return Count(n)
}

func (p *Progress) draw() {
	if p.bar == nil {
		total := p.o.Total
		if total <= 0 {
			total = -1 // a spinner
		}
		options := []progressbar.Option{
			progressbar.OptionSetWriter(p.o.Out),
			progressbar.OptionSetDescription(Clean(p.o.Label)),
			progressbar.OptionShowBytes(p.o.Bytes),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionShowCount(),
			progressbar.OptionSetWidth(24),
			progressbar.OptionSetElapsedTime(true),
			progressbar.OptionSetPredictTime(p.o.Total > 0),
			// A spinner would turn in a goroutine of its own, which draws
			// while Clear does, and again behind it. Ours turns with the work.
			progressbar.OptionSetSpinnerChangeInterval(0),
		}
		if !p.o.Bytes { // the rate, which bytes have by themselves
			options = append(options, progressbar.OptionShowIts())
		}
		p.bar = progressbar.NewOptions64(total, options...)
	}
	done := p.done
	if p.o.Total > 0 {
		done = min(done, p.o.Total) // beyond its end the library returns an error for ever
	}
	_ = p.bar.Set64(done)
}
