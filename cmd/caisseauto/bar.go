package main

import (
	"time"

	"caisseauto/internal/term"
)

// A bar turns the engines' "so much is done" into a term.Progress, a new one
// for each stage and each total.
type bar struct {
	app   *app
	label string
	bytes bool

	stage string
	total int64
	done  int64
	p     *term.Progress
}

// bar returns one that counts rows, or bytes.
func (a *app) bar(label string, bytes bool) *bar {
	return &bar{app: a, label: label, bytes: bytes}
}

// rows shows rows of an unknown number.
func (b *bar) rows(done int64) { b.show(b.label, done, 0) }

// copied shows bytes of a total.
func (b *bar) copied(done, total int64) { b.show(b.label, done, total) }

// show shows how far a stage is.
func (b *bar) show(stage string, done, total int64) {
	if b.p == nil || stage != b.stage || total != b.total || done < b.done {
		b.close()
		b.stage, b.total, b.done = stage, total, 0
		b.p = b.app.newProgress(stage, total, b.bytes)
	}
	b.p.Add(done - b.done)
	b.done = done
}

// close takes it away.
func (b *bar) close() { b.p.Done() }

// seconds writes a time that a JSON result holds as a number.
func seconds(s float64) string { return term.Duration(time.Duration(s * float64(time.Second))) }
