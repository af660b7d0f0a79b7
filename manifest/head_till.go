package manifest

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What a till may say of itself, so that its head stays within MaxHead however
// its words are escaped.
const (
	MaxAlarms = 20  // alarms in a head
	MaxWords  = 300 // bytes of an alarm, of the machine's name, of the version
)

func checkTillState(t *TillState, stream string) *Refusal {
	switch {
	case !isIncarnation(t.Incarnation):
		return refuse("H7", "incarnation is not 32 lower-case hex digits")
	case !isWords(t.Host, MaxWords) || !isWords(t.Version, MaxWords):
		return refuse("H8", "host or version is longer than %d bytes or has control characters", MaxWords)
	case t.Waiting < 0 || t.Waiting > maxInteger || t.FreeBytes < 0 || t.FreeBytes > maxInteger:
		return refuse("H8", "waiting or free_bytes is out of range")
	case !t.OldestWaiting.IsZero() && !validTime(t.OldestWaiting):
		return refuse("D8", "oldest_waiting is not a UTC time of whole seconds")
	case len(t.Alarms) > MaxAlarms:
		return refuse("H8", "%d alarms, more than %d", len(t.Alarms), MaxAlarms)
	}
	for _, a := range t.Alarms {
		if a == "" || !isWords(a, MaxWords) {
			return refuse("H8", "an alarm is empty, longer than %d bytes, or has control characters", MaxWords)
		}
	}
	if t.Software != nil {
		if r := checkSoftware(t.Software); r != nil {
			return r
		}
	}
	if t.Applied != nil {
		return checkApplied(t.Applied, stream)
	}
	return nil
}

// A headFile is a head as it stands in its file: what a till says of itself is
// on the same level as the rest. Pointers tell what is missing from what is
// zero.
type headFile struct {
	Head
	Applied       *StreamPosition `json:"applied,omitempty"`
	Incarnation   *string         `json:"incarnation,omitempty"`
	Host          *string         `json:"host,omitempty"`
	Version       *string         `json:"version,omitempty"`
	Waiting       *int64          `json:"waiting,omitempty"`
	OldestWaiting *time.Time      `json:"oldest_waiting,omitempty"`
	FreeBytes     *int64          `json:"free_bytes,omitempty"`
	Alarms        *[]string       `json:"alarms,omitempty"`
	Packages      *[]Installed    `json:"packages,omitempty"`
	Updates       *[]Update       `json:"updates,omitempty"`
}

func headOf(h *Head) *headFile {
	f := &headFile{Head: *h}
	t := h.Till
	if t == nil {
		return f
	}
	alarms := append([]string{}, t.Alarms...)
	f.Applied, f.Incarnation, f.Host, f.Version = t.Applied, &t.Incarnation, &t.Host, &t.Version
	f.Waiting, f.FreeBytes, f.Alarms = &t.Waiting, &t.FreeBytes, &alarms
	if !t.OldestWaiting.IsZero() {
		f.OldestWaiting = &t.OldestWaiting
	}
	if t.Software != nil {
		packages, updates := append([]Installed{}, t.Software.Packages...), append([]Update{}, t.Software.Updates...)
		f.Packages, f.Updates = &packages, &updates
	}
	return f
}

// head is the reverse of headOf. A till says all of it or nothing; a reader
// that filled in what is missing would read another head than was signed.
func (f *headFile) head() (*Head, *Refusal) {
	h := f.Head
	said := 0
	for _, there := range []bool{f.Incarnation != nil, f.Host != nil, f.Version != nil, f.Waiting != nil, f.FreeBytes != nil, f.Alarms != nil} {
		if there {
			said++
		}
	}
	switch {
	case said == 0 && f.Applied == nil && f.OldestWaiting == nil && f.Packages == nil && f.Updates == nil:
		return &h, nil
	case said < 6, (f.Packages == nil) != (f.Updates == nil):
		return nil, refuse("H7", "the till says of itself only a part")
	}
	h.Till = &TillState{Applied: f.Applied, Incarnation: *f.Incarnation, Host: *f.Host, Version: *f.Version,
		Waiting: *f.Waiting, FreeBytes: *f.FreeBytes, Alarms: *f.Alarms}
	if f.OldestWaiting != nil {
		if f.OldestWaiting.IsZero() { // the year 1, which would be left out
			return nil, refuse("D8", "oldest_waiting is not a UTC time of whole seconds")
		}
		h.Till.OldestWaiting = *f.OldestWaiting
	}
	if f.Packages != nil {
		h.Till.Software = &Software{Packages: *f.Packages, Updates: *f.Updates}
	}
	return &h, nil
}

// clipped returns h with words that fit. A till that has much to complain of
// must not fall silent over it.
func (h *Head) clipped() *Head {
	if h.Till == nil {
		return h
	}
	c, t := *h, *h.Till
	c.Till = &t
	t.Host, t.Version = Clip(t.Host, MaxWords), Clip(t.Version, MaxWords)
	t.Alarms = nil
	for _, a := range h.Till.Alarms {
		if a = Clip(a, MaxWords); a != "" && len(t.Alarms) < MaxAlarms {
			t.Alarms = append(t.Alarms, a)
		}
	}
	t.Software = clippedSoftware(t.Software)
	return &c
}

// Clip makes words of s for a statement: blanks for control characters, the
// replacement character for what is not UTF-8, and "…" where it ends when it
// has more than most bytes.
func Clip(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	if len(s) <= most {
		return s
	}
	const more = "…"
	end := max(0, most-len(more))
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + more
}

// isWords reports whether s can stand in a statement as words for a person.
func isWords(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
