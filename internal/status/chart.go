package status

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"caisseauto/internal/page"
	"caisseauto/internal/term"
)

// The timeline of a till: an hour a column, for a week.
const (
	hours    = 7 * 24
	column   = 4  // units of width
	height   = 44 // of the columns
	labelled = 16 // height of the line of days below
)

// timeline draws when a till's batches were sealed, by the hour: the taller the
// more rows. Pale: no receipt covers them yet. A gap is an hour without a
// batch. A triangle at the end says that an alarm stands.
func timeline(t Till, now time.Time) template.HTML {
	end := now.UTC().Truncate(time.Hour).Add(time.Hour)
	begin := end.Add(-hours * time.Hour)
	var rows, pale [hours]int64
	total, batches, most := int64(0), 0, int64(1)
	for _, e := range t.History {
		if e.Created.Before(begin) || !e.Created.Before(end) {
			continue
		}
		h := int(e.Created.Sub(begin) / time.Hour)
		rows[h] += max(e.Rows, 1)
		if e.Sequence > t.Integrated {
			pale[h] += max(e.Rows, 1)
		}
		total, batches, most = total+e.Rows, batches+1, max(most, rows[h])
	}
	text := fmt.Sprintf("Till %s, seven days to %s: %s batches with %s rows", t.Till, end.Format("2006-01-02 15:04"), term.Count(batches), term.Count(total))
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="timeline" viewBox="0 0 %d %d" role="img" aria-label="%s"><title>%s</title>`, hours*column+10, height+labelled, page.Attr(text), page.Attr(text))
	for day := begin.Truncate(24*time.Hour).AddDate(0, 0, 1); day.Before(end); day = day.AddDate(0, 0, 1) {
		x := int(day.Sub(begin)/time.Hour) * column
		fmt.Fprintf(&b, `<line class="axis" x1="%d" x2="%d" y1="0" y2="%d"/>`, x, x, height+3)
		// A label is 21 hours wide, on a phone 40: those that would run out at
		// the end are left out.
		switch {
		case x < (hours-40)*column:
			fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`, x+3, height+labelled-2, day.Format("Mon 2 Jan"))
		case x < (hours-21)*column:
			fmt.Fprintf(&b, `<text class="late" x="%d" y="%d">%s</text>`, x+3, height+labelled-2, day.Format("Mon 2 Jan"))
		}
	}
	for h := range hours {
		if rows[h] == 0 {
			continue
		}
		tall := max(2, math.Sqrt(float64(rows[h])/float64(most))*height)
		class := "bar"
		if pale[h] > 0 {
			class = "bar low"
		}
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%.1f" width="%d" height="%.1f"/>`, class, h*column, height-tall, column-1, tall)
	}
	fmt.Fprintf(&b, `<line class="axis" x1="0" x2="%d" y1="%d" y2="%d"/>`, hours*column, height, height)
	if len(t.Alarms) > 0 {
		x := hours * column
		fmt.Fprintf(&b, `<path class="alarm" d="M%d 10 l5 -9 l5 9 z"/>`, x)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// A slot is one bar of a chart.
type slot struct {
	label string
	long  string // for those who hear it; empty: the label
	value int64
}

// bars draws a small chart with its figures above the bars.
func bars(text string, slots []slot) template.HTML {
	const all, h, top, bottom = 210, 60, 12, 14
	w := all / len(slots)
	most := int64(1)
	var said []string
	for _, s := range slots {
		most = max(most, s.value)
		said = append(said, cmp.Or(s.long, s.label)+": "+term.Count(s.value))
	}
	alt := text + ". " + strings.Join(said, ", ")
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s"><title>%s</title>`, w*len(slots), top+h+bottom, page.Attr(alt), page.Attr(alt))
	for i, s := range slots {
		tall := float64(s.value) / float64(most) * h
		if s.value > 0 {
			tall = max(tall, 1.5)
		}
		fmt.Fprintf(&b, `<rect class="bar" x="%d" y="%.1f" width="%d" height="%.1f"/><text x="%d" y="%.1f" text-anchor="middle">%s</text><text x="%d" y="%d" text-anchor="middle">%s</text>`,
			i*w+w/8, top+h-tall, w-w/4, tall, i*w+w/2, top+h-tall-3, short(s.value), i*w+w/2, top+h+bottom-3, page.Attr(s.label))
	}
	fmt.Fprintf(&b, `<line class="axis" x1="0" x2="%d" y1="%d" y2="%d"/></svg>`, w*len(slots), top+h, top+h)
	return template.HTML(b.String())
}

// short writes a number that fits above a bar.
func short(n int64) string {
	switch {
	case n >= 10_000_000:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n >= 10_000:
		return fmt.Sprintf("%dk", n/1000)
	}
	return term.Count(n)
}

// byDay adds up events by the day of UTC, over the days to now.
func byDay(now time.Time, days int, value func(Event) int64, lists ...[]Event) []slot {
	first := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-days)
	slots := make([]slot, days)
	for i := range slots {
		day := first.AddDate(0, 0, i)
		slots[i].label, slots[i].long = day.Format("Mon"), day.Format("Monday 2 January")
	}
	for _, list := range lists {
		for _, e := range list {
			if d := int(math.Floor(e.Created.Sub(first).Hours() / 24)); d >= 0 && d < days {
				slots[d].value += value(e)
			}
		}
	}
	return slots
}

// into counts tills by the first limit that they do not exceed.
func into(tills []Till, value func(Till) (float64, bool), steps ...step) []slot {
	slots := make([]slot, len(steps))
	for i, s := range steps {
		slots[i].label = s.label
	}
	for _, t := range tills {
		v, known := value(t)
		for i, s := range steps {
			if known && v <= s.most || i == len(steps)-1 {
				slots[i].value++
				break
			}
		}
	}
	return slots
}

type step struct {
	label string
	most  float64
}
