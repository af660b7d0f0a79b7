package status

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"caisseauto/internal/page"
	"caisseauto/internal/term"
)

//go:embed status.html
var statusBody string

var statusPage = page.Template(statusBody)

// maxTimelines bounds the page for a company of a thousand tills: those in
// trouble come first.
const maxTimelines = 100

// A sheet is what the page shows.
type sheet struct {
	At       time.Time
	Dossiers []view
	Tills    int
	Alarms   int // dossiers and tills with an alarm
	Looks    int
	Waiting  int64
	Held     int64
}

// A view is a dossier on the page.
type view struct {
	*Dossier
	Worst  []Till
	Shown  []drawn
	Hidden int // tills without a timeline
	Charts []chart

	Problems     []problem
	MoreProblems int
}

// A problem is one thing that is wrong with a till, for the list on top: whoever
// is woken by it wants to read that before the table of all tills.
type problem struct{ Mark, Word, Till, Text string }

// maxProblems bounds the list; a page of them is a trouble of its own.
const maxProblems = 50

// problems lists what is wrong with the tills, the worst first.
func problems(tills []Till) (list []problem) {
	for _, t := range tills {
		for _, text := range t.Alarms {
			list = append(list, problem{"wrong", "alarm", t.Till, text})
		}
		if t.Quarantine > 0 {
			list = append(list, problem{"wrong", "quarantine", t.Till, term.Count(t.Quarantine) + " rows wait for an operator: caisseauto quarantine list"})
		}
		for _, text := range t.Warnings {
			list = append(list, problem{"warn", "update", t.Till, text})
		}
		if t.State != Look {
			continue
		}
		var why []string
		switch {
		case t.Heard.IsZero():
			why = append(why, "nothing was heard of it yet")
		case t.Silent:
			why = append(why, "not heard of for "+seconds(t.SilentSeconds))
		}
		if t.LagSeconds > late.Seconds() {
			why = append(why, fmt.Sprintf("%d batches behind, the oldest %s old", t.LagBatches, seconds(t.LagSeconds)))
		}
		if clock := t.Clock(); clock != "ok" {
			why = append(why, "its clock is "+clock)
		}
		if len(why) > 0 {
			list = append(list, problem{"warn", "look", t.Till, strings.Join(why, "; ")})
		}
	}
	return list
}

type drawn struct {
	Till
	Timeline template.HTML
}

type chart struct {
	Title string
	Chart template.HTML
}

// HTML writes one page about all dossiers, for a browser that has nothing but
// the file.
func HTML(w io.Writer, list []*Dossier) error {
	s := sheet{}
	for _, d := range list {
		s.At = d.At
		v := view{Dossier: d, Worst: d.Worst(), Charts: charts(d)}
		v.Problems = problems(v.Worst)
		v.MoreProblems = max(0, len(v.Problems)-maxProblems)
		v.Problems = v.Problems[:len(v.Problems)-v.MoreProblems]
		for i, t := range v.Worst {
			if i < maxTimelines {
				v.Shown = append(v.Shown, drawn{t, timeline(t, d.At)})
			}
			if t.State == Look {
				s.Looks++
			}
			s.Waiting, s.Held = s.Waiting+t.Waiting, s.Held+t.Quarantine
		}
		v.Hidden = len(v.Worst) - len(v.Shown)
		s.Dossiers, s.Tills, s.Alarms = append(s.Dossiers, v), s.Tills+len(d.Tills), s.Alarms+d.Alarms()
	}
	title := "caisseauto: all is well"
	switch {
	case s.Alarms > 0:
		title = fmt.Sprintf("caisseauto: %d in alarm", s.Alarms)
	case s.Looks > 0:
		title = fmt.Sprintf("caisseauto: %d to look at", s.Looks)
	}
	return page.Write(w, title, statusPage, s)
}

// charts are the small ones of a dossier.
func charts(d *Dossier) []chart {
	lists := make([][]Event, len(d.Tills))
	for i, t := range d.Tills {
		lists[i] = t.History
	}
	one := func(Event) int64 { return 1 }
	rows := func(e Event) int64 { return e.Rows }
	const hour, day = 3600, 86400
	list := []struct {
		title string
		slots []slot
	}{
		{"Batches to the tills, by day", byDay(d.At, 7, one, d.Down.History)},
		{"Rows from the tills, by day", byDay(d.At, 7, rows, lists...)},
		{"Tills by batches behind", into(d.Tills, func(t Till) (float64, bool) { return float64(t.LagBatches), !t.Heard.IsZero() },
			step{"none", 0}, step{"1–3", 3}, step{"4–20", 20}, step{"more", 0})},
		{"Tills by when last heard of", into(d.Tills, func(t Till) (float64, bool) { return t.SilentSeconds, !t.Heard.IsZero() },
			step{"1 h", hour}, step{"a day", day}, step{"a week", 7 * day}, step{"longer", 0})},
	}
	var out []chart
	for _, c := range list {
		out = append(out, chart{c.title, bars(c.title, c.slots)})
	}
	return out
}

// Badge is the word for the state that a page has a mark for.
func (t Till) Badge() string {
	return map[State]string{Alarm: "wrong", Look: "warn", Well: "ok"}[t.State]
}

// Lag says how far the till is behind, as people do.
func (t Till) Lag() string {
	switch {
	case t.Heard.IsZero():
		return "–"
	case t.LagBatches == 0:
		return "up to date"
	}
	return fmt.Sprintf("%d, %s", t.LagBatches, seconds(t.LagSeconds))
}

// Silence is how long ago the till was heard of.
func (t Till) Silence() string {
	if t.Heard.IsZero() {
		return "never"
	}
	return seconds(t.SilentSeconds) + " ago"
}

// Oldest is the age of the oldest row that waits.
func (t Till) Oldest(now time.Time) string {
	if t.OldestWaiting.IsZero() {
		return ""
	}
	return seconds(max(0, now.Sub(t.OldestWaiting).Seconds()))
}

// Clock is what is proven about the till's clock.
func (t Till) Clock() string {
	switch {
	case t.ClockAhead > 0:
		return "ahead ≥ " + seconds(t.ClockAhead)
	case t.ClockBehind > 0:
		return "behind ≥ " + seconds(t.ClockBehind)
	}
	return "ok"
}
